"""Docstrings of config fields, which --help prints, and of modules stand alone."""

import ast
import dataclasses
import inspect
import itertools
from pathlib import Path

import pytest

from wgan_jax.experiment.config import Config
from wgan_jax.experiment.config_io import field_types, node_kinds

PACKAGE = Path(__file__).parents[1] / "wgan_jax"


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


def test_modules_say_what_they_are_or_do():
    for path in sorted(PACKAGE.rglob("*.py")):
        text = ast.get_docstring(ast.parse(path.read_text())) or ""
        first = text.split(" ", 1)[0]
        assert text.split("\n\n")[0].endswith("."), path
        assert first not in ("What", "How", "Where", "Whether", "Which", "Who", "Of", "From"), path
