"""What --help tells: each field of a config in a phrase that can be read alone."""

import ast
import dataclasses
import inspect
import itertools

import pytest

from wgan_jax.experiment.config import Config
from wgan_jax.experiment.config_io import field_types, node_kinds


def nodes(kind=Config):
    """Every class that a config may consist of."""
    yield kind
    for inner in field_types(kind).values():
        for node in node_kinds(inner):
            yield from nodes(node)


def docstrings(cls):
    """The docstrings of a dataclass's fields, those of its bases included."""
    found = {}
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base) or base.__module__.startswith("flax."):
            continue
        (definition,) = ast.parse(inspect.getsource(base)).body
        for field, after in itertools.pairwise([*definition.body, None]):
            if isinstance(field, ast.AnnAssign):
                value = getattr(after, "value", None) if isinstance(after, ast.Expr) else None
                text = getattr(value, "value", None)
                found[field.target.id] = " ".join(text.split()) if isinstance(text, str) else ""
    return found


@pytest.mark.parametrize("node", dict.fromkeys(nodes()), ids=lambda node: node.__name__)
def test_the_help_of_every_field_reads_alone(node):
    told = docstrings(node)
    for name in field_types(node):
        text = told[name]
        assert text.endswith("."), (name, text)
        assert len(text.split()) >= 3, (name, text)
        assert not text.startswith(("Of ", "And ", "It ", "Its ", "Beside ")), (name, text)
        assert text[0].isupper(), (name, text)
