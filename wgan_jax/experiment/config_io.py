"""Configs as JSON and back. JSON is data: reading it runs no code but the nodes' own checks."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import types
import typing
from typing import Any

import flax.linen as nn

from wgan_jax.errors import UserError, suggest
from wgan_jax.experiment.config import OPERATIONAL, Config

_LARGEST = 2**31 - 1
# What fields and nodes were called in version 0.1, whose config.json and flags are still read.
FORMER_NAMES = {"population": "sweep", "Population": "Sweep"}


def to_dict(node: Any) -> Any:
    """A config as JSON values; each node carries the name of its class as `type`."""
    if dataclasses.is_dataclass(node):
        values = {name: to_dict(getattr(node, name)) for name in field_types(type(node))}
        return {"type": type(node).__name__, **values}
    return list(node) if isinstance(node, tuple) else node


def from_dict(data: Any, kind: Any = Config, path: str = "config") -> Any:
    """The config that `to_dict` wrote; fields that are absent take their defaults.

    Raises:
      UserError: an unknown class or field (with the nearest known name), or a
        value of the wrong type.
    """
    choices = alternatives(kind)
    if data is None and type(None) in choices:
        return None
    nodes = {node.__name__: node for node in node_kinds(kind)}
    if nodes:
        return _node(data, nodes, path)
    _require_numbers_in_range(data, path)
    most = _MOST_CLASSES if path.endswith(".class_counts") else _LONGEST_LIST
    if isinstance(data, list) and len(data) > most:
        raise UserError(f"a list of {len(data):,} values, where {most:,} are the most")
    for choice in choices:
        if (value := _leaf(data, choice)) is not _MISMATCH:
            return value
    raise UserError(f"{path} must be {describe(kind)}, got {json.dumps(data)[:100]}")


def _require_numbers_in_range(data: Any, path: str) -> None:
    """Integers as the devices have them, and finite floats."""
    for value in data if isinstance(data, list) else [data]:
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{path} must be a finite number, got {value}")
        is_seed = path.endswith(".seed")  # which has a range of its own
        if type(value) is int and abs(value) > _LARGEST and not is_seed:
            raise UserError(f"{path} must be between -{_LARGEST} and {_LARGEST}")


def comparable_fields(config: Config) -> dict[str, Any]:
    """What makes two configs the same run."""
    return {name: value for name, value in to_dict(config).items() if name not in OPERATIONAL}


def config_hash(config: Config) -> str:
    """Eight letters that name a run."""
    text = json.dumps(comparable_fields(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def diff(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """The dotted names of the fields in which two configs, as dicts, differ."""
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return [path] if ours != theirs else []
    if ours.get("type") != theirs.get("type"):
        return [path]
    names = sorted(ours.keys() | theirs.keys())
    prefix = f"{path}." if path else ""
    return [d for n in names for d in diff(ours.get(n), theirs.get(n), prefix + n)]


def field_types(cls: type) -> dict[str, Any]:
    """The fields of a node and their types; Linen's own bookkeeping is left out."""
    hints = typing.get_type_hints(cls)
    hidden = {"parent", "name"} if issubclass(cls, nn.Module) else set()
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.name not in hidden}


def alternatives(kind: Any) -> tuple[Any, ...]:
    """The members of a union; a type alone is its own only member."""
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if is_union else (kind,)


def node_kinds(kind: Any) -> list[type]:
    """The nodes among the members of a union."""
    choices = alternatives(kind)
    return [c for c in choices if isinstance(c, type) and dataclasses.is_dataclass(c)]


def describe(kind: Any) -> str:
    names = [getattr(choice, "__name__", str(choice)) for choice in alternatives(kind)]
    if typing.get_origin(kind) is typing.Literal:
        names = [repr(value) for value in typing.get_args(kind)]
    if typing.get_origin(kind) is tuple:
        names = ["a list of " + typing.get_args(kind)[0].__name__]
    return " or ".join(names)


_MISMATCH = object()
# Layers, or values of a sweep; a config may come from anybody.
_LONGEST_LIST, _MOST_CLASSES = 512, 2**16


def _node(data: Any, nodes: dict[str, type], path: str) -> Any:
    if not isinstance(data, dict):
        raise UserError(f"{path} must be an object, got {json.dumps(data)}")
    name = data.get("type", next(iter(nodes)) if len(nodes) == 1 else None)
    name = FORMER_NAMES.get(name, name) if isinstance(name, str) else name
    if not isinstance(name, str) or name not in nodes:
        hint = suggest(str(name), list(nodes))
        raise UserError(f"{path}.type {json.dumps(name)} is unknown; {hint}")
    kinds = field_types(nodes[name])
    data = {FORMER_NAMES.get(key, key): value for key, value in data.items()}
    for key in data.keys() - kinds.keys() - {"type"}:
        raise UserError(f"{path} has no field {key!r}; {suggest(key, list(kinds))}")
    values = {k: from_dict(data[k], kinds[k], f"{path}.{k}") for k in kinds if k in data}
    try:
        return nodes[name](**values)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from error


def _leaf(data: Any, kind: Any) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Literal:
        return data if data in arguments else _MISMATCH
    if origin is tuple and isinstance(data, list):
        items = tuple(_leaf(item, arguments[0]) for item in data)
        return _MISMATCH if _MISMATCH in items else items
    if kind is float and type(data) is int:
        return float(data)
    return data if type(data) is kind else _MISMATCH
