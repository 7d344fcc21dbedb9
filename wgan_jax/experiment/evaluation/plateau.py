"""Plateau detection for early stopping, based on the estimates of W1."""

from __future__ import annotations

from collections.abc import Sequence

PATIENCE, GAIN = 5, 0.01


def is_plateau(estimates: Sequence[float]) -> bool:
    """Return whether none of the last five estimates of W1 is 1% below the best one before.

    Example:
      >>> is_plateau([8.0, 4.0, 2.0, 2.1, 2.0, 1.99, 2.2, 2.0])
      True
      >>> is_plateau([8.0, 4.0, 2.0, 2.1, 2.0, 1.9, 2.2, 2.0])
      False
    """
    earlier, last = estimates[:-PATIENCE], estimates[-PATIENCE:]
    if not earlier:
        return False
    # Few held-out data cannot tell W1 from 0, and nothing is below that.
    best = min(earlier)
    return best == 0 or min(last) > (1 - GAIN) * best
