"""Both bounds of W1 in standardized units, with their margins."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.distances.exact import exact_w1, transport_potentials
from wgan_jax.estimate.cone_ascent import Rows
from wgan_jax.estimate.judge import SEEN
from wgan_jax.estimate.pair import BLOCK, Pair, check_diameter, draw, scores
from wgan_jax.margins import bounded_differences_margin, held_out_difference, unseen_margin
from wgan_jax.types import Array

_ENOUGH = 0.01  # margin relative to the score
_FACTOR = 4  # growth of held-out draws from one look to the next
_BLOCKS = 4  # drawn and scored at a time


class Dual(NamedTuple):
    """The clipped critic's mean difference on held-out samples, and its margin.

    `sizes` are the numbers of samples, `reach` their largest distances from the center.
    """

    score: float
    margin: float
    sizes: tuple[int, int]
    reach: tuple[float, float]

    @property
    def denoised(self) -> float:
        return denoised(self.score, self.margin)


def denoised(score: float, margin: float) -> float:
    """The score if it is well above its margin, falling to 0 within the margin."""
    return max(max(score, 0.0) ** 4 - margin**4, 0.0) ** 0.25


def dual_score(
    pair: Pair, critic: Any, held_out: int, looks: int, alpha: float, rounding: float
) -> Dual:
    """Score the critic on held-out samples, with scores off by at most `rounding`.

    Samplers are drawn from in up to `looks` looks, with four times as many draws each, until
    the margin is a small fraction of the score, or even the last look could not distinguish it
    from noise. The first look gets half of the risk; the others share the rest.
    """
    fitted = pair.part(0, SEEN)
    seen = [
        scores(critic, side.x if isinstance(side, Rows) else draw(side, key, 2 * BLOCK))
        for side, key in zip(fitted, pair.keys(2, 2), strict=True)
    ]
    low, high = (
        _HeldOut(critic, side, key) for side, key in zip(pair[:2], pair.keys(1, 2), strict=True)
    )
    looks = looks if callable(pair.p) and callable(pair.q) else 1
    for look in range(looks):
        n = held_out * _FACTOR**look
        share = 1.0 if looks == 1 else 0.5 if look == 0 else 0.5 / (looks - 1)
        dual, margin = held_out_difference(
            high.scores(n), low.scores(n), np.concatenate(seen), share * alpha
        )
        at_last = margin * _FACTOR ** (-0.5 * (looks - 1 - look))
        if margin <= _ENOUGH * dual or 2 * dual < at_last:
            break
    sizes = len(low.scores(n)), len(high.scores(n))
    return Dual(dual, margin + 2 * rounding, sizes, (low.reach, high.reach))


class _HeldOut:
    """Scores of held-out rows of an array, or of any number of draws of a sampler."""

    def __init__(self, critic: Any, side: Any, key: Array):
        self._critic, self._side, self._key = critic, side, key
        self._scored: list[np.ndarray] = []
        self.reach = 0.0
        if not callable(side):
            self._scored, self.reach = [scores(critic, side[int(SEEN * len(side)) :])], _reach(side)

    def scores(self, n: int) -> np.ndarray:
        if not callable(self._side):
            return self._scored[0]
        while len(self._scored) * _BLOCKS * BLOCK < n:
            first = len(self._scored) * _BLOCKS
            scored, reach = _score_draws(self._critic, self._side, self._key, first)
            self._scored.append(np.asarray(scored))
            self.reach = max(self.reach, float(reach))
            if not np.isfinite(self._scored[-1]).all():
                raise ValueError("a sampler returned values that are not finite")
        scored = np.concatenate(self._scored)
        # A block may be sorted, so its first rows alone are not draws of the distribution.
        return scored if n == len(scored) else np.random.default_rng(0).choice(scored, n, False)


@jax.jit
def _score_draws(critic: Any, side: Any, key: Array, first: Array) -> tuple[Array, Array]:
    """Scores of a few blocks of draws, and their largest distance from the center."""

    def score_block(block: Array) -> tuple[Array, Array]:
        x = side(jax.random.fold_in(key, block), BLOCK)
        return critic(x), jnp.sqrt((x**2).sum(1).max())

    scored, reach = lax.map(score_block, first + jnp.arange(_BLOCKS))
    return scored.reshape(-1), reach.max()


def _reach(x: np.ndarray) -> float:
    return float(np.linalg.norm(x, axis=1).max())


class Transport(NamedTuple):
    """Exact W1 between samples: per draw, on average, and the bounds that follow.

    `uppers` are the upper bounds from the first draw, the first two, ...; the last one counts.
    `debiased` is the mean minus its floor and twice the noise of both.
    """

    draws: list[float]
    uppers: list[float]
    floor: float
    debiased: float
    size: int

    @property
    def mean(self) -> float:
        return float(np.mean(self.draws))

    @property
    def upper(self) -> float:
        return self.uppers[-1]


def transport_between_samples(
    pair: Pair,
    size: int,
    transports: int,
    alpha: float,
    diameter: float | None,
    reach: tuple[float, float],
) -> Transport:
    """W1(p_n, q_n) of independent batches of n points, and the bounds that follow.

    With the optimal potential u of the distributions, W1(p_n, q_n) >= E_qn u - E_pn u, and
    the expectation of the right side is W1. So the mean of all batches falls short of W1 by no
    more than the mean of all values u(y_i) - u(x_i) does. The potentials of each batch stand in
    for u, so far points count wherever they were drawn. None of these values exceeds
    |x_i - y_i|, so unobserved ones are taken to be no larger than the extent of the samples
    of both distributions: the sum of `reach`, which includes samples outside the batches.
    """
    n, batches = _batches(min(pair.sizes), size, transports)
    keys = pair.keys(3, 4)
    xs, ys = _clouds(pair.p, n, batches, keys[0]), _clouds(pair.q, n, batches, keys[1])
    draws, values = [], []
    for x, y in zip(xs, ys, strict=True):
        w1, phi, psi = transport_potentials(x, y)
        draws.append(w1)
        values.append(phi + psi)
    if diameter is not None:
        check_diameter(diameter, [*xs, *ys], float(pair.scale))
        margins = [bounded_differences_margin(diameter, k * n, alpha) for k in _counts(draws)]
    else:
        span = sum(max(r, _reach(np.concatenate(z))) for r, z in zip(reach, (xs, ys), strict=True))
        margins = [unseen_margin(np.concatenate(values[:k]), alpha, span) for k in _counts(draws)]
    uppers = [float(np.mean(draws[:k])) + margins[k - 1] for k in _counts(draws)]
    noise = float(np.concatenate(values).std()) * math.sqrt(2 / n)
    x1, x2 = _clouds(pair.p, n // 2, 2, keys[2])
    y1, y2 = _clouds(pair.q, n // 2, 2, keys[3])
    floor = (exact_w1(x1, x2) + exact_w1(y1, y2)) / 2
    debiased = (exact_w1(x1, y1) + exact_w1(x2, y2)) / 2 - floor
    return Transport(draws, uppers, floor, debiased - 2 * noise, n)


def _batches(available: float, size: int, transports: int) -> tuple[int, int]:
    """Points per batch and number of batches; all rows are used if the batches can hold them."""
    batches = max(1, round(min(available / size, transports)))
    return int(size if batches * size < available else available // batches), batches


def _counts(draws: list[float]) -> range:
    return range(1, len(draws) + 1)


def _clouds(side: Any, n: int, count: int, key: Array) -> list[np.ndarray]:
    if callable(side):
        return [draw(side, subkey, n) for subkey in jax.random.split(key, count)]
    return [side[start * n : (start + 1) * n] for start in range(count)]
