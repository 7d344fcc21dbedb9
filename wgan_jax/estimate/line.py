"""W1 on a line, where it is the area between the distribution functions.

W1(p, q) = ∫ |F_p - F_q| = E_q f - E_p f,   f' = sign(F_p - F_q)
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from wgan_jax.distances.exact import exact_w1
from wgan_jax.estimate.bounds import denoised
from wgan_jax.estimate.cone_ascent import Rows
from wgan_jax.estimate.judge import FIT, Fit, Judge
from wgan_jax.estimate.pair import Pair, draw, scores
from wgan_jax.estimate.quantised import Quantised
from wgan_jax.types import Array

_MARGIN = 2.0  # times the mean noise; exceeded by 1 to 5% of equal distributions, 11% for coins
_DRAWS = 1 << 18  # of a sampler that is not quantized
_FLAT = (0.0, 1.0, 2.0, 4.0)  # standard errors of F_p - F_q within which a critic is flat
_DOUBT = 1.0  # margins that are subtracted from validation scores of samplers


class LineCritic(NamedTuple):
    """A function of scalars x [n, 1] that is linear between knots and constant beyond them.

    Attributes:
      knots: [k], ascending.
      heights: [k]; neighbors differ by no more than their knots do.
    """

    knots: Array
    heights: Array

    def __call__(self, x: Array) -> Array:
        return jnp.interp(x[:, 0], self.knots, self.heights)

    def quick(self, x: Array) -> Array:
        return self(x)


def fit_on_a_line(pair: Pair, quantised: Quantised | None, alpha: float, held_out: int) -> Fit:
    """Fit the critic whose slope is the sign of F_p - F_q, or 0 where that is within its noise.

    Validation samples choose the noise threshold, and whether a straight line is better.
    """
    on_p, on_q, on_seen_p, on_seen_q, at_validation = pair.keys(0, 5)
    p, q = pair.part(0, FIT)
    seen = draw(p, on_seen_p, 2048), draw(q, on_seen_q, 2048)
    doubt = 0.0 if quantised is None else _DOUBT
    judge = Judge.of(pair, seen, at_validation, alpha, held_out, doubt)
    if quantised is None:
        x, y = (
            np.asarray(side.x) if isinstance(side, Rows) else draw(side, key, _DRAWS)
            for side, key in ((p, on_p), (q, on_q))
        )
        points, n, m = np.concatenate([x, y])[:, 0], len(x), len(y)
        of_p, of_q = np.repeat([1 / n, 0.0], [n, m]), np.repeat([0.0, 1 / m], [n, m])
    else:
        points, n, m = quantised.centers[:, 0], quantised.n, quantised.n
        of_p, of_q = quantised.weights_p, quantised.weights_q
    knots, at = np.unique(points.astype(np.float32), return_inverse=True)
    below_p, below_q = (np.cumsum(np.bincount(at, w, len(knots)))[:-1] for w in (of_p, of_q))
    gap = below_p - below_q
    noise = _standard_error(below_p, n, below_q, m)
    widths = np.diff(knots.astype(np.float64))
    straight = np.full(len(gap), np.sign(gap @ widths))
    slopes = [straight, *(np.sign(gap) * (np.abs(gap) > flat * noise) for flat in _FLAT)]
    rounding = 0.0
    for slope in slopes:
        heights = np.concatenate([[0.0], np.cumsum(slope * widths)])
        critic = LineCritic(jnp.asarray(knots), jnp.asarray(heights, jnp.float32))
        judge(critic)
        if judge.best is critic:
            exact = np.interp(judge.seen[:, 0], knots, heights)
            rounding = float(np.abs(scores(critic, judge.seen) - exact).max())
    return Fit(judge.best, 0, True, [], rounding)


def w1_on_a_line(x: np.ndarray, y: np.ndarray) -> float:
    """Exact W1 of scalars x [n, 1] and y [m, 1], falling to 0 within the noise of equal ones.

    W1(P_n, Q_m) is the area between the distribution functions F and G of the samples. The noise
    of F - G at one point is normal in the limit, so its mean area for equal distributions is

        sqrt(2 / pi) ∫ sqrt(F (1 - F) / n + G (1 - G) / m)

    References:
      del Barrio, Giné and Matrán, Central limit theorems for the Wasserstein distance
      between the empirical and the true distributions, 1999.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(1000, 1))
      >>> round(w1_on_a_line(x, x + 1), 2), w1_on_a_line(x[:500], x[500:])
      (1.0, 0.0)
    """
    points = np.sort(np.concatenate([x[:, 0], y[:, 0]]).astype(np.float64))
    below = [np.searchsorted(np.sort(z[:, 0]), points[:-1], side="right") / len(z) for z in (x, y)]
    error = _standard_error(below[0], len(x), below[1], len(y))
    noise = (2 / np.pi) ** 0.5 * float(error @ np.diff(points))
    return denoised(exact_w1(x, y), _MARGIN * noise)


def _standard_error(f: np.ndarray, n: int, g: np.ndarray, m: int) -> np.ndarray:
    """Standard error of F - G at some points, with F of n samples and G of m."""
    return np.sqrt(f * (1 - f).clip(0) / n + g * (1 - g).clip(0) / m)
