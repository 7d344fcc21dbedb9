"""An upper bound for samplers that are built alike: what one key makes of both.

Both laws keep their own marginals where x and y come from the same key, so W1 is not above
the mean of |x - y|. It is W1 itself where one sampler moves the draws of the other
along optimal ways, 0 where both are the same, and tells nothing of samplers that use
their keys in different ways.
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

_ROWS = 64  # of one key: their mean is one independent value, in whatever order rows come
_MOST, _FEWEST = 1 << 15, 1 << 11  # keys


def are_alike(pair: Pair) -> bool:
    """One key brings draws of both laws at least twice as close as two keys do."""
    if not (callable(pair.p) and callable(pair.q)):
        return False
    one, other = pair.keys(7, 2)
    x = draw_block(pair.p, jax.random.clone(one))
    together, apart = (_mean_distance(x, draw_block(pair.q, key)) for key in (one, other))
    return 2 * together < apart


def coupled_upper(pair: Pair, alpha: float, diameter: float | None) -> float:
    """W1 is not above this but with probability alpha.

    The margin is finite-sample with the `diameter` of the laws. Without, no mean distance over the
    draws of a key is taken to be larger than twice the largest seen, or than draws reach apart.
    """
    dim = pair.center.shape[0]
    keys = min(max(_MOST // dim, _FEWEST), _MOST)
    means, reach = (
        np.asarray(z, np.float64) for z in _means(pair.p, pair.q, pair.keys(8, 1)[0], keys)
    )
    width = max(2 * float(means.max()), float(reach.max())) if diameter is None else diameter
    return float(means.mean()) + bernstein_margin(float(means.var()), width, keys, alpha)


def _mean_distance(x: Array, y: Array) -> float:
    return float(np.linalg.norm(np.asarray(x) - np.asarray(y), axis=1).mean())


@partial(jax.jit, static_argnames="count")
def _means(p: Any, q: Any, key: Array, count: int) -> tuple[Array, Array]:
    def one(_: None, block: Array) -> tuple[None, tuple[Array, Array]]:
        same = jax.random.fold_in(key, block)
        x, y = p(same, _ROWS), q(jax.random.clone(same), _ROWS)
        reach = jnp.sqrt((x**2).sum(1).max()) + jnp.sqrt((y**2).sum(1).max())
        return None, (jnp.sqrt(((x - y) ** 2).sum(1)).mean(), reach)

    return lax.scan(one, None, jnp.arange(count))[1]
