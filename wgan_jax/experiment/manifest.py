"""What a state consists of, leaf by leaf: plain arrays for the disk, and a record of them."""

from __future__ import annotations

import hashlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.types import PyTree

_FORMAT = 2


def arrays_of(state: PyTree) -> PyTree:
    """The state as NumPy arrays, keys as their data; of shapes and dtypes, empty ones."""

    def to_array(x: Any) -> np.ndarray:
        if isinstance(x, jax.ShapeDtypeStruct):
            return np.empty(x.shape, x.dtype)
        return np.asarray(x)

    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(state)):
        return jax.tree.map(to_array, jax.eval_shape(_without_keys, state))
    return jax.tree.map(to_array, _without_keys(state))


def state_of(arrays: PyTree, like: PyTree) -> PyTree:
    """The state that `arrays_of` took apart, on the device.

    Raises:
      ValueError: an array has another shape or dtype than `like` asks for.
    """

    def rebuild(x: np.ndarray, want: Any) -> jax.Array:
        leaf = jnp.asarray(x)
        if is_key(want):
            leaf = jax.random.wrap_key_data(leaf, impl=_kind_of_key(want))
        if leaf.dtype != want.dtype or leaf.shape != want.shape:
            raise ValueError(
                f"it holds {x.dtype}{list(x.shape)} where the run has "
                f"{want.dtype}{list(want.shape)}"
            )
        return leaf

    return jax.tree.map(rebuild, arrays, like)


def describe(state: PyTree, arrays: PyTree) -> dict[str, Any]:
    """The manifest: of each leaf its path, shape, dtype, kind of key, and SHA-256."""

    def entry(path: Any, x: np.ndarray, leaf: Any) -> dict[str, Any]:
        return {
            "path": jax.tree_util.keystr(path, simple=True, separator="/"),
            "shape": list(x.shape),
            "dtype": str(x.dtype),
            "key": _kind_of_key(leaf) if is_key(leaf) else None,
            "sha256": hashlib.sha256(x.tobytes()).hexdigest(),
        }

    with_paths = jax.tree_util.tree_leaves_with_path(arrays)
    leaves = jax.tree.leaves(state)
    entries = [entry(*pair, leaf) for pair, leaf in zip(with_paths, leaves, strict=True)]
    return {"format": _FORMAT, "leaves": entries}


def require_tree(tree: PyTree, target: PyTree) -> None:
    """Raise ValueError unless two trees have one structure."""
    structure: Any = jax.tree.structure(tree)
    if structure != jax.tree.structure(target):
        raise ValueError("it holds another tree of arrays than this run")


def require_same(stored: Any, actual: dict[str, Any]) -> None:
    """Raise ValueError, with the place, unless what was read is what the manifest says."""
    if not isinstance(stored, dict) or stored.get("format") != _FORMAT:
        raise ValueError(f"its manifest is not of format {_FORMAT}")
    if [entry["path"] for entry in stored["leaves"]] != [e["path"] for e in actual["leaves"]]:
        raise ValueError("it holds another tree of arrays than this run")
    for was, now in zip(stored["leaves"], actual["leaves"], strict=True):
        for field, value in now.items():
            if was[field] != value:
                raise ValueError(f"{now['path']} has {field} {value}, saved was {was[field]}")


def first_not_finite(state: PyTree) -> str | None:
    """The path of a leaf that holds values not finite."""
    for path, x in jax.tree_util.tree_leaves_with_path(state):
        if jnp.issubdtype(x.dtype, jnp.inexact) and not np.isfinite(np.asarray(x)).all():
            return jax.tree_util.keystr(path, simple=True, separator="/")
    return None


def is_key(x: Any) -> bool:
    """Whether a leaf is a typed key."""
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _kind_of_key(x: Any) -> str:
    """The name of a key's implementation, also where there is only its dtype."""
    kinds: list[str] = []
    jax.eval_shape(lambda key: kinds.append(str(jax.random.key_impl(key))), x)
    return kinds[0]


def _without_keys(state: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, state)
