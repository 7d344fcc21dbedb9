"""Confidence margins: how far a mean of samples may be from its expectation."""

from __future__ import annotations

import math

import numpy as np


def bernstein_margin(variance: float, width: float, n: int, alpha: float) -> float:
    """One-sided empirical Bernstein margin of a mean of n values in an interval.

    P( E z < mean z - margin ) <= alpha for any law on an interval of that
    width: no assumption but independence, at every n.

        sqrt(2 variance log(2 / alpha) / n) + 7 width log(2 / alpha) / (3 (n - 1))

    Args:
      variance: unbiased, of the n values.
      width: of an interval that was fixed before the values were seen.
      n: how many; one value has no margin, inf.
      alpha: probability of failure.

    Example:
      >>> round(bernstein_margin(1.0, 4.0, 10_000, 0.025), 4)
      0.0337

    References:
      Maurer and Pontil, Empirical Bernstein bounds and sample variance
      penalization, 2009, theorem 4.
    """
    if n < 2:
        return math.inf
    log = math.log(2 / alpha)
    return math.sqrt(2 * variance * log / n) + 7 * width * log / (3 * (n - 1))


def difference_margin(
    high: np.ndarray, low: np.ndarray, width: float, alpha: float
) -> tuple[float, float]:
    """mean high - mean low, and its one-sided margin for independent samples.

    Values must lie in an interval of `width` that was fixed beforehand. Equal
    sizes are taken as pairs, whose differences lie in twice the width;
    otherwise each mean has half of `alpha`.

    Example:
      >>> import numpy as np
      >>> difference_margin(np.full(100, 3.0), np.full(100, 1.0), 0.0, 0.05)
      (2.0, 0.0)
    """
    difference = float(high.mean() - low.mean())
    if len(high) == len(low):
        return difference, bernstein_margin(_variance(high - low), 2 * width, len(high), alpha)
    margins = [bernstein_margin(_variance(z), width, len(z), alpha / 2) for z in (high, low)]
    return difference, sum(margins)


def _variance(z: np.ndarray) -> float:
    return float(np.var(z, ddof=1)) if len(z) > 1 else 0.0


def held_out_difference(
    high: np.ndarray, low: np.ndarray, seen: np.ndarray, alpha: float
) -> tuple[float, float]:
    """mean high - mean low of float32 scores clipped to the range of `seen`, and its margin.

    Clipping a critic to a range that was fixed beforehand leaves it as Lipschitz as
    it was, and bounds its scores, so that the margin of `difference_margin` holds.
    It is widened by what rounding of the scores may add.

    Example:
      >>> import numpy as np
      >>> scores = np.linspace(0.0, 1.0, 1_000)
      >>> difference, margin = held_out_difference(scores + 1, scores, np.array([0.0, 2.0]), 0.05)
      >>> round(difference, 3), margin < 0.1
      (1.0, True)
    """
    bottom, top = float(seen.min()), float(seen.max())
    clipped = [np.clip(f.astype(np.float64), bottom, top) for f in (high, low)]
    difference, margin = difference_margin(clipped[0], clipped[1], top - bottom, alpha)
    return difference, margin + 4e-6 * (top - bottom + abs(bottom) + abs(top))


def bounded_differences_margin(diameter: float, n: int, alpha: float) -> float:
    """One-sided margin of transport between n and n points of a set of that diameter.

    P( E W1(p_n, q_n) > W1(p_n, q_n) + margin ) <= alpha at every n: each of the 2 n
    points moves the distance by at most diameter / n. It holds as well for the mean
    of transports over independent batches of n points in all.

    Example:
      >>> round(bounded_differences_margin(1.0, 1_000, 0.025), 3)
      0.061

    References:
      McDiarmid, On the method of bounded differences, 1989.
    """
    return diameter * math.sqrt(math.log(1 / alpha) / n)
