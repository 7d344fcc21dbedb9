"""Both bounds of W1 in standard units, with their margins."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.distances.exact import exact_w1, transport_potentials
from wgan_jax.estimate.cone_ascent import Rows
from wgan_jax.estimate.fit import SEEN
from wgan_jax.estimate.pair import Pair
from wgan_jax.margins import held_out_difference, student_margin
from wgan_jax.types import Array

_HELD_OUT_CHUNK = 4096


@jax.jit
def _scores(critic: Any, x: Array) -> Array:
    return critic(x)


def dual_score(
    pair: Pair, critic: Any, held_out: int, alpha: float
) -> tuple[float, float, tuple[int, int]]:
    """The clipped critic's mean difference on unseen samples, its margin, and their numbers."""
    fitted, fresh = pair.part(0, SEEN), pair.keys(1, 2)
    seen = []
    for sampler, one in zip(fitted, pair.keys(2, 2), strict=True):
        x = sampler.x if isinstance(sampler, Rows) else sampler(one, 8192)
        seen.append(np.asarray(_scores(critic, x)))
    scores = []
    for side, one in zip(pair[:2], fresh, strict=True):
        if callable(side):
            chunks = jax.random.split(one, -(-held_out // _HELD_OUT_CHUNK))
            size = min(held_out, _HELD_OUT_CHUNK)
            values = [_fresh_scores(critic, side, chunk, size) for chunk in chunks]
            f = np.concatenate([np.asarray(v) for v in values])
        else:
            f = np.asarray(_scores(critic, jnp.asarray(side[len(side) // 2 :])))
        if not np.isfinite(f).all():
            raise ValueError("a sampler gave values that are not finite")
        scores.append(f)
    dual, margin = held_out_difference(scores[1], scores[0], np.concatenate(seen), alpha)
    return dual, margin, (len(scores[0]), len(scores[1]))


@partial(jax.jit, static_argnames="n")
def _fresh_scores(critic: Any, sampler: Any, key: Array, n: int) -> Array:
    return critic(sampler(key, n))


class Transport(NamedTuple):
    """Exact W1 between samples: of each draw, their mean, and what follows from it."""

    draws: list[float]
    mean: float
    upper: float
    floor: float
    debiased: float
    size: int


def transport_between_samples(pair: Pair, size: int, transports: int, alpha: float) -> Transport:
    available = min(pair.sizes)
    n = int(min(size, available))
    batches = int(min(transports, available // n))
    keys = pair.keys(3, 4)
    xs, ys = _clouds(pair.p, n, batches, keys[0]), _clouds(pair.q, n, batches, keys[1])
    if batches >= 4:
        draws = [exact_w1(x, y) for x, y in zip(xs, ys, strict=True)]
        error, freedom = float(np.std(draws, ddof=1)) / batches**0.5, batches - 1
    else:
        draw, phi, psi = transport_potentials(xs[0], ys[0])
        draws, freedom = [draw], n - 1
        error = float((np.var(phi, ddof=1) + np.var(psi, ddof=1)) / n) ** 0.5
    mean = float(np.mean(draws))
    x1, x2 = _clouds(pair.p, n // 2, 2, keys[2])
    y1, y2 = _clouds(pair.q, n // 2, 2, keys[3])
    floor = (exact_w1(x1, x2) + exact_w1(y1, y2)) / 2
    debiased = (exact_w1(x1, y1) + exact_w1(x2, y2)) / 2 - floor
    return Transport(draws, mean, mean + student_margin(error, freedom, alpha), floor, debiased, n)


def _clouds(side: Any, n: int, count: int, key: Array) -> list[np.ndarray]:
    if callable(side):
        return [np.asarray(side(one, n)) for one in jax.random.split(key, count)]
    return [side[start * n : (start + 1) * n] for start in range(count)]
