"""Conversion of a state to host arrays and back, and a manifest of its leaves.

A state is any pytree of arrays and scalars. Its leaves are numbered in JAX's order, so the
names of leaves, which may contain anything, never become file names.
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
NAMED = 2  # the format that named array files after their leaves
READABLE = (NAMED, FORMAT)


class FormatError(ValueError):
    """Raised for a checkpoint format that this version does not read."""


class OtherStateError(ValueError):
    """Raised for a checkpoint with other arrays than the run's state."""


def to_host_arrays(state: PyTree) -> list[np.ndarray]:
    """Return the leaves as NumPy arrays of JAX's dtypes, typed keys as their data.

    Raises:
      ValueError: an integer does not fit JAX's dtype.
    """
    return [_to_host(leaf) for leaf in jax.tree.leaves(state)]


def from_host_arrays(arrays: Sequence[np.ndarray], like: PyTree) -> PyTree:
    """Rebuild the state from the arrays of `to_host_arrays`, on the device.

    Raises:
      OtherStateError: an array differs from `like` in shape or dtype.
    """
    wanted, structure = jax.tree.flatten(jax.eval_shape(lambda tree: tree, like))

    def rebuild(x: np.ndarray, want: Any) -> jax.Array:
        leaf = jnp.asarray(x)
        if is_key(want):
            leaf = jax.random.wrap_key_data(leaf, impl=_key_impl(want))
        if leaf.dtype != want.dtype or leaf.shape != want.shape:
            raise OtherStateError(
                f"it holds {x.dtype}{list(x.shape)}, but the run has {want.dtype}{list(want.shape)}"
            )
        return leaf

    return jax.tree.unflatten(structure, map(rebuild, arrays, wanted))


def host_structs(like: PyTree) -> list[jax.ShapeDtypeStruct]:
    """Return shapes and dtypes of `to_host_arrays` for a state, concrete or abstract."""
    return jax.tree.leaves(jax.eval_shape(_without_keys, like))


def build_manifest(
    state: PyTree, arrays: Sequence[np.ndarray], form: int = FORMAT
) -> dict[str, Any]:
    """Build the manifest: path, shape, dtype, key implementation and SHA-256 of each leaf.

    It also names the version of this package, and whether JAX had 64-bit types.
    """

    def entry(path: Any, x: np.ndarray, leaf: Any) -> dict[str, Any]:
        simple = jax.tree_util.keystr(path, simple=True, separator="/")
        return {
            "path": simple if form == NAMED else jax.tree_util.keystr(path),
            "shape": list(x.shape),
            "dtype": str(x.dtype),
            "key": _key_impl(leaf) if is_key(leaf) else None,
            "sha256": hashlib.sha256(x.tobytes()).hexdigest(),
        }

    leaves = jax.tree_util.tree_leaves_with_path(state)
    entries = [entry(path, x, leaf) for (path, leaf), x in zip(leaves, arrays, strict=True)]
    x64 = jax.dtypes.canonicalize_dtype(np.float64) == np.float64  # equal keys give other draws
    made_by = {"wgan_jax": wgan_jax.__version__, "x64": x64}
    return {"format": form, **made_by, "leaves": entries}


def check_format(manifest: Any) -> int:
    """Return the format of a manifest.

    Raises:
      FormatError: this version does not read it; the message names the version that wrote it.
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
    """Raise ValueError, naming the leaf, unless the restored leaves match the manifest."""
    if [entry["path"] for entry in stored["leaves"]] != [e["path"] for e in actual["leaves"]]:
        raise OtherStateError("it holds another tree of arrays than this run")
    for was, now in zip(stored["leaves"], actual["leaves"], strict=True):
        for field, value in now.items():
            if was[field] != value:
                raise ValueError(f"{now['path']} has {field} {value}, but {was[field]} was saved")


def first_not_finite(state: PyTree, arrays: Sequence[np.ndarray]) -> str | None:
    """Return the path of the first leaf with non-finite values, or None."""
    for (path, _), x in zip(jax.tree_util.tree_leaves_with_path(state), arrays, strict=True):
        if jnp.issubdtype(x.dtype, jnp.inexact) and not np.isfinite(x).all():
            return jax.tree_util.keystr(path, simple=True, separator="/")
    return None


def is_key(x: Any) -> bool:
    """Return whether a leaf is a typed PRNG key."""
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _to_host(leaf: Any) -> np.ndarray:
    x = np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf)
    dtype = jnp.result_type(leaf) if not is_key(leaf) else x.dtype
    converted = x.astype(dtype, copy=False)
    if np.issubdtype(x.dtype, np.integer) and not np.array_equal(converted, x):
        raise ValueError(f"{x.dtype} values do not fit {dtype}, JAX's dtype for them")
    return converted


def _key_impl(x: Any) -> str:
    """Return the name of a key's implementation, also for an abstract key."""
    names: list[str] = []
    jax.eval_shape(lambda key: names.append(str(jax.random.key_impl(key))), x)
    return names[0]


@jax.jit  # at module level: jitting anew at each save would leak traces
def _without_keys(state: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, state)
