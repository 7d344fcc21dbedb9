"""Conversion of configs to and from JSON; reading runs only the validation of the nodes."""

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

_MAX_INT = 2**31 - 1
# Names of fields and nodes in version 0.1, still accepted in config.json and flags.
FORMER_NAMES = {"population": "sweep", "Population": "Sweep"}


def to_dict(node: Any) -> Any:
    """Convert a config to JSON values; each node stores its class name as `type`."""
    if dataclasses.is_dataclass(node):
        values = {name: to_dict(getattr(node, name)) for name in field_types(type(node))}
        return {"type": type(node).__name__, **values}
    return list(node) if isinstance(node, tuple) else node


def from_dict(data: Any, kind: Any = Config, path: str = "config") -> Any:
    """Rebuild a config from the output of `to_dict`; absent fields take their defaults.

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
    longest = _MAX_CLASSES if path.endswith(".class_counts") else _MAX_LENGTH
    if isinstance(data, list) and len(data) > longest:
        raise UserError(
            f"{path} is a list of {len(data):,} values, but at most {longest:,} are allowed"
        )
    for choice in choices:
        if (value := _leaf(data, choice)) is not _MISMATCH:
            return value
    raise UserError(f"{path} must be {describe(kind)}, got {json.dumps(data)[:100]}")


def _require_numbers_in_range(data: Any, path: str) -> None:
    """Reject integers beyond int32 and floats that are not finite."""
    for value in data if isinstance(data, list) else [data]:
        if isinstance(value, float) and not math.isfinite(value):
            raise UserError(f"{path} must be a finite number, got {value}")
        is_seed = path.endswith(".seed")  # seeds have their own range
        if type(value) is int and abs(value) > _MAX_INT and not is_seed:
            raise UserError(f"{path} must be between -{_MAX_INT} and {_MAX_INT}")


def comparable_fields(config: Config) -> dict[str, Any]:
    """Return the fields that must be equal for two configs to describe the same run."""
    return {name: value for name, value in to_dict(config).items() if name not in OPERATIONAL}


def config_hash(config: Config) -> str:
    """Return a hash of the comparable fields: eight characters that identify a run."""
    text = json.dumps(comparable_fields(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def diff(ours: Any, theirs: Any, path: str = "") -> list[str]:
    """Return the dotted names of the fields in which two configs, as dicts, differ."""
    if not (isinstance(ours, dict) and isinstance(theirs, dict)):
        return [path] if ours != theirs else []
    if ours.get("type") != theirs.get("type"):
        return [path]
    names = sorted(ours.keys() | theirs.keys())
    prefix = f"{path}." if path else ""
    return [d for n in names for d in diff(ours.get(n), theirs.get(n), prefix + n)]


def field_types(cls: type) -> dict[str, Any]:
    """Return the fields of a node and their types, without Linen's `parent` and `name`."""
    hints = typing.get_type_hints(cls)
    hidden = {"parent", "name"} if issubclass(cls, nn.Module) else set()
    return {f.name: hints[f.name] for f in dataclasses.fields(cls) if f.name not in hidden}


def alternatives(kind: Any) -> tuple[Any, ...]:
    """Return the members of a union; a single type is its only member."""
    is_union = typing.get_origin(kind) in (typing.Union, types.UnionType)
    return typing.get_args(kind) if is_union else (kind,)


def node_kinds(kind: Any) -> list[type]:
    """Return the dataclasses among the members of a union."""
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
# Bounds on lists of layers or sweep values; a config may come from an untrusted source.
_MAX_LENGTH, _MAX_CLASSES = 512, 2**16


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
