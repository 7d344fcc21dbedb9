"""An upper bound for samplers that use their keys alike: the coupling by common keys.

Draws x and y of one key have the right marginals, so W1 is at most the mean of |x - y|. The
bound is W1 itself if one sampler moves the draws of the other optimally, 0 if both are the
same, and carries no information about samplers that use their keys in different ways.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.estimate.pair import Pair, draw_block
from wgan_jax.margins import bernstein_margin
from wgan_jax.types import Array

_ROWS = 64  # per key: their mean is one independent value, for any order of the rows
_MAX_KEYS, _MIN_KEYS = 1 << 15, 1 << 11


def are_alike(pair: Pair) -> bool:
    """Whether one key yields draws of both distributions at least twice as close as two keys."""
    if not (callable(pair.p) and callable(pair.q)):
        return False
    same, other = pair.keys(7, 2)
    x = draw_block(pair.p, jax.random.clone(same))
    coupled, independent = (_mean_distance(x, draw_block(pair.q, key)) for key in (same, other))
    return 2 * coupled < independent


def coupled_upper(pair: Pair, alpha: float, diameter: float | None) -> float:
    """An upper bound on W1 that fails with probability at most alpha.

    With the `diameter` of the distributions it holds for any number of samples. Without it, no
    mean distance over the draws of a key is assumed to exceed twice the largest observed one or
    the extent of the draws, whichever is larger.
    """
    dim = pair.center.shape[0]
    keys = min(max(_MAX_KEYS // dim, _MIN_KEYS), _MAX_KEYS)
    means, reach = (
        np.asarray(z, np.float64) for z in _means(pair.p, pair.q, pair.keys(8, 1)[0], keys)
    )
    width = max(2 * float(means.max()), float(reach.max())) if diameter is None else diameter
    return float(means.mean()) + bernstein_margin(float(means.var()), width, keys, alpha)


def _mean_distance(x: Array, y: Array) -> float:
    return float(np.linalg.norm(np.asarray(x) - np.asarray(y), axis=1).mean())


@partial(jax.jit, static_argnames="count")
def _means(p: Any, q: Any, key: Array, count: int) -> tuple[Array, Array]:
    def mean_of_key(_: None, block: Array) -> tuple[None, tuple[Array, Array]]:
        same = jax.random.fold_in(key, block)
        x, y = p(same, _ROWS), q(jax.random.clone(same), _ROWS)
        reach = jnp.sqrt((x**2).sum(1).max()) + jnp.sqrt((y**2).sum(1).max())
        return None, (jnp.sqrt(((x - y) ** 2).sum(1)).mean(), reach)

    return lax.scan(mean_of_key, None, jnp.arange(count))[1]
