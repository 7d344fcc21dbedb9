"""Confidence margins between a sample mean and its expectation."""

from __future__ import annotations

import math

import numpy as np

_MAX_BET = 0.75  # largest fraction of the wealth lost in one bet
_MAX_BETS = 1 << 18  # more values than these are grouped, and bets placed on group means


def betting_bound(z: np.ndarray, alpha: float) -> float:
    """A lower confidence bound on the expectation of n values in [0, 1], valid at every n.

    A bettor who starts with a wealth of 1 and bets lambda_i on each z_i being above m,

        K_i = K_{i - 1} (1 + lambda_i (z_i - m))

    with lambda_i chosen before z_i is observed, has an expected wealth of at most 1 if
    E z <= m, and so reaches 1 / alpha with probability at most alpha. The bound is the
    largest m at which that happened. It assumes only independent values, and tends to
    mean z - sqrt(2 variance log(1 / alpha) / n). Bets are placed in a random order, the
    same at each call, so values may be sorted.

    Example:
      >>> import numpy as np
      >>> round(betting_bound(np.tile([0.4, 0.6], 500), 0.025), 2)
      0.49

    References:
      Waudby-Smith and Ramdas, Estimating means of bounded random variables by
      betting, 2024 (the hedged capital process, one side of it).
    """
    z = _in_random_order(z)
    counts = np.arange(2, len(z) + 2)
    mean = (0.5 + np.cumsum(z)) / counts
    variance = (0.25 + np.cumsum((z - mean) ** 2)) / counts
    before = np.concatenate([[0.25], variance[:-1]])
    goal = math.log(1 / alpha)
    stake = np.sqrt(2 * goal / (len(z) * before))

    def is_beaten(m: float) -> bool:
        gains = np.log1p(np.minimum(stake, _MAX_BET / m) * (z - m))
        return bool(np.cumsum(gains).max() >= goal)

    low, high = 0.0, float(z.mean())
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (middle, high) if is_beaten(middle) else (low, middle)
    return low


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
    n = min(len(high), len(low), _MAX_BETS)
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


def _in_random_order(z: np.ndarray, seed: int = 0) -> np.ndarray:
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
    `betting_bound` needs the values themselves. It is far wider for few values, and a
    tenth wider for very many.

    Example:
      >>> round(bernstein_margin(0.25, 1.0, 1_000_000, 0.05), 5)
      0.00137

    References:
      Maurer and Pontil, Empirical Bernstein bounds and sample variance penalization, 2009.
    """
    goal = math.log(2 / alpha)
    variance = variance * n / (n - 1)
    return math.sqrt(2 * variance * goal / n) + 7 * width * goal / (3 * (n - 1))
