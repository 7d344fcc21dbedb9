"""Axes with round ticks, and number formatting."""

from __future__ import annotations

import math

import numpy as np

_TICKS = 5


class Axis:
    """Maps values from [low, high] to [0, 1]."""

    def __init__(self, low: float, high: float, log: bool):
        if not high > low:
            low, high = (low / 2, high * 2) if log else (low - 0.5, high + 0.5)
        self.low, self.high, self._log = low, high, log

    def __call__(self, value: np.ndarray | float) -> np.ndarray:
        f = np.log10 if self._log else np.asarray
        return (f(value) - f(self.low)) / (f(self.high) - f(self.low))

    def ticks(self) -> list[float]:
        """Return about five round values."""
        if self._log:
            ticks = _log_ticks(self.low, self.high)
            if len(ticks) >= 2:
                return ticks
        raw = (self.high - self.low) / _TICKS
        unit = 10.0 ** math.floor(math.log10(raw))
        step = next(k * unit for k in (1, 2, 2.5, 5, 10) if k * unit >= raw * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [k * step for k in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for marks in ((1, 2, 5), (1, 3), (1,)):
        ticks = [m * 10.0**d for d in decades for m in marks if low <= m * 10.0**d <= high]
        if len(ticks) <= _TICKS + 1:
            return ticks
    return ticks[:: -(-len(ticks) // _TICKS)]


def number(value: float, figures: int = 4) -> str:
    r"""Format a number with a few significant digits and thousands separators.

    Example:
      >>> [number(x) for x in (0.012345, -1.0, 12345, 1e-7, 2.5e9, 0)]
      ['0.01235', '\u22121', '12,345', '1e-7', '2.5e9', '0']
    """
    size = abs(float(value))
    if size == 0 or not math.isfinite(size):
        text = f"{size:g}"
    elif 1e-4 <= size < 1e6:
        text = f"{size:,.0f}" if size >= 1_000 else f"{size:.{figures}g}"
    else:
        digits, power = f"{size:.2e}".split("e")
        text = f"{float(digits):g}e{int(power)}"
    return f"\N{MINUS SIGN}{text}" if value < 0 else text


def short(step: float) -> str:
    """Format an iteration as a label of an axis."""
    for size, letter in ((1e6, "M"), (1e3, "k")):
        if step >= max(size, 1e5):
            return f"{step / size:g}{letter}"
    return f"{step:,g}"
