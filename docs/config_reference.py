"""Generates the config reference as Markdown from the dataclasses, when the docs are built."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import re
from collections.abc import Iterator
from typing import Any

from wgan_jax.experiment.config import Config
from wgan_jax.experiment.config_io import alternatives, describe, field_types, node_kinds


def markdown() -> str:
    """Return a table of the fields of `Config`, and one for each kind of part."""
    nodes = dict.fromkeys(_nodes(Config))
    return "\n\n".join(f"## {node.__name__}\n\n{_about(node)}\n\n{_table(node)}" for node in nodes)


def _nodes(kind: type) -> Iterator[type]:
    yield kind
    for inner in field_types(kind).values():
        for node in node_kinds(inner):
            yield from _nodes(node)


def _about(node: type) -> str:
    return _plain((inspect.getdoc(node) or "").partition("\n\n")[0])


def _table(node: type) -> str:
    kinds, docs = field_types(node), _docstrings(node)
    if not kinds:
        return "No fields."
    defaults = {f.name: _default(f) for f in dataclasses.fields(node)}
    rows = [
        f"| `{name}` | {_kind(kind)} | {defaults[name]} | {_plain(docs[name])} |"
        for name, kind in kinds.items()
    ]
    return "\n".join(["| field | type | default | description |", "|---|---|---|---|", *rows])


def _kind(kind: Any) -> str:
    """Return links to the tables of parts, or a description of any other type."""
    nodes = node_kinds(kind)
    if not nodes:
        return _plain(describe(kind))
    names = [f"[{node.__name__}](#{node.__name__.lower()})" for node in nodes]
    return ", ".join([*names, *(["none"] if type(None) in alternatives(kind) else [])])


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default
    if value is dataclasses.MISSING:
        if field.default_factory is dataclasses.MISSING:
            return "required"
        value = field.default_factory()
    return f"`{type(value).__name__}`" if dataclasses.is_dataclass(value) else f"`{value!r}`"


def _docstrings(node: type) -> dict[str, str]:
    """Return the docstrings below the fields of a class and its bases."""
    docs = {}
    for base in reversed(node.__mro__):
        if not dataclasses.is_dataclass(base) or base.__module__.startswith("flax."):
            continue
        (definition,) = ast.parse(inspect.getsource(base)).body
        assert isinstance(definition, ast.ClassDef)
        for field, after in itertools.pairwise([*definition.body, None]):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
                is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
                docs[field.target.id] = str(after.value.value) if is_text else ""
    return docs


def _plain(text: str) -> str:
    """Put text on one line, and escape Markdown."""
    return re.sub(r"([|*_$<\[\]])", r"\\\1", " ".join(text.split()))
