"""Confidence margins between a sample mean and its expectation."""

from __future__ import annotations

import math

import numpy as np

from wgan_jax.betting import MAX_BETS, betting_bound


def difference_margin(
    high: np.ndarray, low: np.ndarray, width: float, alpha: float
) -> tuple[float, float]:
    """mean high - mean low, and its one-sided margin for independent samples.

    Values must lie in an interval of `width` fixed beforehand, and be independent draws, in
    any order. Each value of the smaller sample is paired with the mean of a random group of
    values of the larger one, with equal groups; very many values are grouped likewise.

    Example:
      >>> import numpy as np
      >>> difference_margin(np.full(100, 3.0), np.full(100, 1.0), 0.0, 0.05)
      (2.0, 0.0)
    """
    difference = float(high.mean() - low.mean())
    if width <= 0:
        return difference, 0.0
    n = min(len(high), len(low), MAX_BETS)
    ups, downs = (
        _in_random_order(z, seed)[: n * (len(z) // n)].reshape(n, -1).mean(1)
        for seed, z in ((1, high), (2, low))
    )
    bound = betting_bound(np.clip((ups - downs + width) / (2 * width), 0, 1), alpha)
    return difference, difference - (bound * 2 * width - width)


def held_out_difference(
    high: np.ndarray, low: np.ndarray, seen: np.ndarray, alpha: float
) -> tuple[float, float]:
    """mean high - mean low of float32 scores clipped to the range of `seen`, and its margin.

    Clipping a critic to a range fixed beforehand preserves its Lipschitz constant and
    bounds its scores, so the margin of `difference_margin` holds. It is widened by the
    possible rounding of the scores.

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


def unseen_margin(values: np.ndarray, alpha: float, reach: float = -math.inf) -> float:
    """One-sided margin: how far the mean of n values may be below their expectation.

    The margin of `betting_bound` from the other side, assuming that values exceed their
    maximum by at most their range, or are at most `reach` if that is larger. No margin
    without such an assumption holds for all distributions: larger values may be unobserved.

    Example:
      >>> import numpy as np
      >>> round(unseen_margin(np.tile([0.4, 0.6], 500), 0.025), 2)
      0.01
    """
    bottom, value_range = float(values.min()), float(np.ptp(values))
    top = max(bottom + 2 * value_range, reach)
    width = top - bottom
    if width == 0:
        return 0.0
    from_above = betting_bound((top - values) / width, alpha)
    return top - width * from_above - float(values.mean())


def _in_random_order(z: np.ndarray, seed: int) -> np.ndarray:
    """The values in an order independent of them."""
    return np.random.default_rng(seed).permutation(z)


def bounded_differences_margin(diameter: float, n: int, alpha: float) -> float:
    """One-sided margin of transport between n and n points of a set of the given diameter.

    P( E W1(p_n, q_n) > W1(p_n, q_n) + margin ) <= alpha at every n: each of the 2 n
    points changes the distance by at most diameter / n. It also holds for the mean of
    transports over independent batches of n points in total.

    Example:
      >>> round(bounded_differences_margin(1.0, 1_000, 0.025), 3)
      0.061

    References:
      McDiarmid, On the method of bounded differences, 1989.
    """
    return diameter * math.sqrt(math.log(1 / alpha) / n)


def bernstein_margin(variance: float, width: float, n: int, alpha: float) -> float:
    """One-sided margin of a mean of n independent values in an interval of `width`.

    It holds at every n, for any order of the values, and needs only their variance, where
    `betting_bound` needs the values themselves. It is far wider for few values, and up to half as
    wide again for very many.

    Example:
      >>> round(bernstein_margin(0.25, 1.0, 1_000_000, 0.05), 5)
      0.00137

    References:
      Maurer and Pontil, Empirical Bernstein bounds and sample variance penalization, 2009.
    """
    goal = math.log(2 / alpha)
    variance = variance * n / (n - 1)
    return math.sqrt(2 * variance * goal / n) + 7 * width * goal / (3 * (n - 1))
