"""Both bounds of W1 in standard units, with their margins."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.distances.exact import exact_w1, transport_potentials
from wgan_jax.estimate.cone_ascent import Rows
from wgan_jax.estimate.fit import SEEN
from wgan_jax.estimate.pair import BLOCK, Pair, draw, draw_block, score_block, scores
from wgan_jax.margins import bounded_differences_margin, held_out_difference, unseen_margin
from wgan_jax.types import Array


class Dual(NamedTuple):
    """The clipped critic's mean difference on unseen samples, and its margin.

    `sizes` are the numbers of samples; `reach` is how far from the center any of them lies.
    """

    score: float
    margin: float
    sizes: tuple[int, int]
    reach: tuple[float, float]


def dual_score(pair: Pair, critic: Any, held_out: int, alpha: float, rounding: float) -> Dual:
    """Score the critic on samples that it was not fitted to, with scores off by `rounding`."""
    fitted, fresh = pair.part(0, SEEN), pair.keys(1, 2)
    seen = [
        scores(critic, side.x if isinstance(side, Rows) else draw(side, one, 2 * BLOCK))
        for side, one in zip(fitted, pair.keys(2, 2), strict=True)
    ]
    (low, reach_p), (high, reach_q) = (
        _fresh_scores(critic, side, one, held_out)
        if callable(side)
        else (scores(critic, side[len(side) // 2 :]), _reach(side))
        for side, one in zip(pair[:2], fresh, strict=True)
    )
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError("a sampler gave values that are not finite")
    dual, margin = held_out_difference(high, low, np.concatenate(seen), alpha)
    return Dual(dual, margin + 2 * rounding, (len(low), len(high)), (reach_p, reach_q))


def _fresh_scores(critic: Any, sampler: Any, key: Array, n: int) -> tuple[np.ndarray, float]:
    keys = [jax.random.fold_in(key, block) for block in range(-(-n // BLOCK))]
    blocks = [draw_block(sampler, one) for one in keys]
    found = [np.asarray(score_block(critic, x)) for x in blocks]
    return np.concatenate(found)[:n], max(float(_radius(x)) for x in blocks)


@jax.jit
def _radius(x: Array) -> Array:
    return jnp.sqrt((x**2).sum(1).max())


def _reach(x: np.ndarray) -> float:
    return float(np.linalg.norm(x, axis=1).max())


class Transport(NamedTuple):
    """Exact W1 between samples: of each draw, their mean, and what follows from it.

    `uppers` are the upper bounds from the first draw, the first two, ...; the last one counts.
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

    With the optimal potential u of the laws, W1(p_n, q_n) >= E_qn u - E_pn u, whose
    expectation is W1: the mean of all batches falls short of W1 no more than the mean of
    all their values u(y_i) - u(x_i) does. For u stand the potentials of each batch, so
    what lies far away counts wherever it was drawn; and none of these values exceeds
    |x_i - y_i|, so none that may have been missed is larger than the samples of both
    laws reach apart, `reach` from the center for each, those outside the batches included.
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
        _check_diameter(diameter, np.concatenate([*xs, *ys]), float(pair.scale))
        margins = [bounded_differences_margin(diameter, k * n, alpha) for k in _counts(draws)]
    else:
        apart = sum(max(r, _reach(np.concatenate(z))) for r, z in zip(reach, (xs, ys), strict=True))
        margins = [unseen_margin(np.concatenate(values[:k]), alpha, apart) for k in _counts(draws)]
    uppers = [float(np.mean(draws[:k])) + margins[k - 1] for k in _counts(draws)]
    x1, x2 = _clouds(pair.p, n // 2, 2, keys[2])
    y1, y2 = _clouds(pair.q, n // 2, 2, keys[3])
    floor = (exact_w1(x1, x2) + exact_w1(y1, y2)) / 2
    debiased = (exact_w1(x1, y1) + exact_w1(x2, y2)) / 2 - floor
    return Transport(draws, uppers, floor, debiased, n)


def _batches(available: float, size: int, transports: int) -> tuple[int, int]:
    """Points per batch and batches: all rows are used where that many batches can hold them."""
    batches = max(1, round(min(available / size, transports)))
    return int(size if batches * size < available else available // batches), batches


def _counts(draws: list[float]) -> range:
    return range(1, len(draws) + 1)


def _check_diameter(diameter: float, points: np.ndarray, scale: float) -> None:
    apart = float(np.linalg.norm(points - points[:1], axis=1).max())
    if not diameter >= apart * (1 - 1e-5):
        raise ValueError(
            f"diameter must bound the distance between samples, got {diameter * scale:.6g} "
            f"where samples are {apart * scale:.6g} apart"
        )


def _clouds(side: Any, n: int, count: int, key: Array) -> list[np.ndarray]:
    if callable(side):
        return [draw(side, one, n) for one in jax.random.split(key, count)]
    return [side[start * n : (start + 1) * n] for start in range(count)]
