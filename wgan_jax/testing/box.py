"""The box of weight clipping."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.types import Array, PyTree


def assert_in_box(params: PyTree, clip: float | Array, mask: PyTree, what: str) -> None:
    """Every weight in [-clip, clip], exactly, with the bound rounded to the weight's dtype."""
    if mask is None:
        chosen = jax.tree.map(lambda _: True, params)
    else:
        chosen = mask(params) if callable(mask) else mask
    held = jax.tree.leaves(jax.tree.map(lambda w, is_held: bool(is_held), params, chosen))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for (path, w), is_held in zip(leaves, held, strict=True):
        bound = np.asarray(jnp.asarray(clip, w.dtype), np.float64)
        largest = np.abs(np.asarray(w, np.float64)).max(initial=0.0)
        assert not is_held or largest <= bound, (
            f"{what} a weight of {jax.tree_util.keystr(path)} is {largest:.9g} "
            f"in size, outside the box of {bound:.9g}"
        )
