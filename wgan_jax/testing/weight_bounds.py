"""Assertions on the bounds of clipped weights."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.transforms.clipping import Mask, project_weights
from wgan_jax.types import Array, PyTree


def assert_weights_bounded(
    params: PyTree, clip: float | Array, mask: Mask | None, what: str
) -> None:
    """Assert that weights lie exactly in [-clip, clip], the bound rounded to their dtype."""
    inside = jax.tree.leaves(project_weights(params, clip, mask))
    leaves = jax.tree_util.tree_leaves_with_path(params)
    for (path, w), clipped in zip(leaves, inside, strict=True):
        bound = np.asarray(jnp.asarray(clip, w.dtype), np.float64)
        largest = np.abs(np.asarray(w, np.float64)).max(initial=0.0)
        assert (w == clipped).all(), (
            f"{what}, a weight of {jax.tree_util.keystr(path)} has magnitude {largest:.9g}, "
            f"outside [-{bound:.9g}, {bound:.9g}] (clip_weights missing or not last in the chain?)"
        )
