"""Describes a state leaf by leaf: plain arrays for the disk, and a record of them.

A state is any pytree of arrays and scalars. Its leaves are numbered in JAX's order, so that
no name of theirs, whatever it holds, ever becomes the name of a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import wgan_jax
from wgan_jax.types import PyTree

FORMAT = 3
NAMED = 2  # the format whose arrays were files by the names of their leaves
READABLE = (NAMED, FORMAT)


class FormatError(ValueError):
    """A checkpoint of a format that this version does not read."""


class OtherStateError(ValueError):
    """A checkpoint of a state with other arrays than the run has."""


def to_host_arrays(state: PyTree) -> list[np.ndarray]:
    """The leaves as NumPy arrays of the dtypes that JAX gives them, keys as their data.

    Raises:
      ValueError: an integer does not fit JAX's dtype.
    """
    return [_to_host(leaf) for leaf in jax.tree.leaves(state)]


def from_host_arrays(arrays: Sequence[np.ndarray], like: PyTree) -> PyTree:
    """The state that `to_host_arrays` took apart, on the device.

    Raises:
      OtherStateError: an array has another shape or dtype than `like` asks for.
    """
    wanted, structure = jax.tree.flatten(_abstract(like))

    def rebuild(x: np.ndarray, want: Any) -> jax.Array:
        leaf = jnp.asarray(x)
        if is_key(want):
            leaf = jax.random.wrap_key_data(leaf, impl=_kind_of_key(want))
        if leaf.dtype != want.dtype or leaf.shape != want.shape:
            raise OtherStateError(
                f"it holds {x.dtype}{list(x.shape)} where the run has "
                f"{want.dtype}{list(want.shape)}"
            )
        return leaf

    return jax.tree.unflatten(structure, map(rebuild, arrays, wanted))


def host_structs(like: PyTree) -> list[jax.ShapeDtypeStruct]:
    """Shapes and dtypes of what `to_host_arrays` makes of a state; of one, or of its structs."""
    return jax.tree.leaves(jax.eval_shape(_without_keys, like))


def build_manifest(
    state: PyTree, arrays: Sequence[np.ndarray], form: int = FORMAT
) -> dict[str, Any]:
    """The manifest: of each leaf its path, shape, dtype, kind of key, and SHA-256."""

    def entry(path: Any, x: np.ndarray, leaf: Any) -> dict[str, Any]:
        named = jax.tree_util.keystr(path, simple=True, separator="/")
        return {
            "path": named if form == NAMED else jax.tree_util.keystr(path),
            "shape": list(x.shape),
            "dtype": str(x.dtype),
            "key": _kind_of_key(leaf) if is_key(leaf) else None,
            "sha256": hashlib.sha256(x.tobytes()).hexdigest(),
        }

    leaves = jax.tree_util.tree_leaves_with_path(state)
    entries = [entry(path, x, leaf) for (path, leaf), x in zip(leaves, arrays, strict=True)]
    return {"format": form, "wgan_jax": wgan_jax.__version__, "leaves": entries}


def check_format(manifest: Any) -> int:
    """The format of a manifest.

    Raises:
      FormatError: this version does not read it; the message names one that does.
    """
    stored = manifest if isinstance(manifest, dict) else {}
    form, version = stored.get("format"), str(stored.get("wgan_jax", "unknown"))[:20]
    if form not in READABLE or isinstance(form, bool):
        raise FormatError(
            f"it has format {str(form)[:20]} of wgan_jax {version}; wgan_jax "
            f"{wgan_jax.__version__} reads {' and '.join(map(str, READABLE))}: use the version "
            f"that wrote it"
        )
    return form


def check_manifest(stored: dict[str, Any], actual: dict[str, Any]) -> None:
    """Raise ValueError, with the place, unless what was read is what the manifest says."""
    if [entry["path"] for entry in stored["leaves"]] != [e["path"] for e in actual["leaves"]]:
        raise OtherStateError("it holds another tree of arrays than this run")
    for was, now in zip(stored["leaves"], actual["leaves"], strict=True):
        for field, value in now.items():
            if was[field] != value:
                raise ValueError(f"{now['path']} has {field} {value}, saved was {was[field]}")


def first_not_finite(state: PyTree, arrays: Sequence[np.ndarray]) -> str | None:
    """The path of a leaf that holds values not finite."""
    for (path, _), x in zip(jax.tree_util.tree_leaves_with_path(state), arrays, strict=True):
        if jnp.issubdtype(x.dtype, jnp.inexact) and not np.isfinite(x).all():
            return jax.tree_util.keystr(path, simple=True, separator="/")
    return None


def is_key(x: Any) -> bool:
    """Whether a leaf is a typed key."""
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _abstract(like: PyTree) -> PyTree:
    return jax.eval_shape(lambda tree: tree, like)


def _to_host(leaf: Any) -> np.ndarray:
    x = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
    dtype = jnp.result_type(leaf) if not is_key(leaf) else x.dtype
    held = x.astype(dtype, copy=False)
    if np.issubdtype(x.dtype, np.integer) and not np.array_equal(held, x):
        raise ValueError(f"{x.dtype} values do not fit {dtype}, which JAX gives them")
    return held


def _kind_of_key(x: Any) -> str:
    """The name of a key's implementation, also where there is only its dtype."""
    kinds: list[str] = []
    jax.eval_shape(lambda key: kinds.append(str(jax.random.key_impl(key))), x)
    return kinds[0]


@jax.jit  # once: a function that each save wraps anew leaves its traces behind
def _without_keys(state: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, state)
