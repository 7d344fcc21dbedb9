"""Both bounds of W1 in standard units, with their margins."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from wgan_jax.distances.exact import exact_w1, transport_potentials
from wgan_jax.estimate.cone_ascent import Rows
from wgan_jax.estimate.fit import SEEN
from wgan_jax.estimate.pair import BLOCK, Pair, draw, draw_block, score_block, scores
from wgan_jax.margins import bounded_differences_margin, held_out_difference, unseen_margin
from wgan_jax.types import Array


def dual_score(
    pair: Pair, critic: Any, held_out: int, alpha: float
) -> tuple[float, float, tuple[int, int]]:
    """The clipped critic's mean difference on unseen samples, its margin, and their numbers."""
    fitted, fresh = pair.part(0, SEEN), pair.keys(1, 2)
    seen = [
        scores(critic, side.x if isinstance(side, Rows) else draw(side, one, 2 * BLOCK))
        for side, one in zip(fitted, pair.keys(2, 2), strict=True)
    ]
    low, high = (
        _fresh_scores(critic, side, one, held_out)
        if callable(side)
        else scores(critic, side[len(side) // 2 :])
        for side, one in zip(pair[:2], fresh, strict=True)
    )
    if not (np.isfinite(low).all() and np.isfinite(high).all()):
        raise ValueError("a sampler gave values that are not finite")
    dual, margin = held_out_difference(high, low, np.concatenate(seen), alpha)
    return dual, margin, (len(low), len(high))


def _fresh_scores(critic: Any, sampler: Any, key: Array, n: int) -> np.ndarray:
    keys = [jax.random.fold_in(key, block) for block in range(-(-n // BLOCK))]
    found = [np.asarray(score_block(critic, draw_block(sampler, one))) for one in keys]
    return np.concatenate(found)[:n]


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
    pair: Pair, size: int, transports: int, alpha: float, diameter: float | None
) -> Transport:
    """W1(p_n, q_n) of independent batches of n points, and the bounds that follow.

    With the optimal potential u of the laws, W1(p_n, q_n) >= E_qn u - E_pn u, whose
    expectation is W1: it falls short of W1 no more than a mean of n values of u does.
    """
    available = min(pair.sizes)
    n = int(min(size, available))
    batches = int(min(transports, available // n))
    keys = pair.keys(3, 4)
    xs, ys = _clouds(pair.p, n, batches, keys[0]), _clouds(pair.q, n, batches, keys[1])
    first, phi, psi = transport_potentials(xs[0], ys[0])
    draws = [first, *(exact_w1(x, y) for x, y in zip(xs[1:], ys[1:], strict=True))]
    if diameter is not None:
        _check_diameter(diameter, np.concatenate([xs[0], ys[0]]), float(pair.scale))
        margin = bounded_differences_margin(diameter, n, alpha)
    else:
        margin = unseen_margin(phi + psi, alpha)
    uppers = [float(np.mean(draws[:k])) + margin / k**0.5 for k in range(1, batches + 1)]
    x1, x2 = _clouds(pair.p, n // 2, 2, keys[2])
    y1, y2 = _clouds(pair.q, n // 2, 2, keys[3])
    floor = (exact_w1(x1, x2) + exact_w1(y1, y2)) / 2
    debiased = (exact_w1(x1, y1) + exact_w1(x2, y2)) / 2 - floor
    return Transport(draws, uppers, floor, debiased, n)


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
