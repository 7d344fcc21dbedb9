"""W1 in the units of the user's data: in their common unit if there is one, else by column."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from wgan_jax.data.dataset import Units
from wgan_jax.experiment.evaluation.metrics import COLUMN, METRICS

CONFIDENCE = 0.95
_DISTANCES = {
    key
    for name, metric in METRICS.items()
    if metric.is_distance
    for key in (name, metric.error, metric.baseline, f"{name}/floor", f"{name}/lower")
}


class ColumnW1(NamedTuple):
    """W1 between the values of a column in two sets of rows.

    Attributes:
      value: in the unit of the column; for a category, the share of rows that would have to
        change.
      lower, upper: bounds for the distributions behind the rows. The upper bound assumes that
        no value lies outside the observed range.
    """

    value: float
    lower: float
    upper: float


def in_units(result: dict[str, float], units: Units | None) -> dict[str, float]:
    """Convert distances to the unit of the data, if all columns share one.

    Example:
      >>> in_units({"w1/exact": 2.0, "points": 5}, None)
      {'w1/exact': 2.0, 'points': 5}
    """
    scale = None if units is None else units.scale
    if scale is None:
        return result
    return {name: x * scale if name in _DISTANCES else x for name, x in result.items()}


def has_columns(units: Units | None) -> bool:
    """Return whether data are points with a separate unit for each column."""
    return units is not None and units.scale is None and len(units.example_shape) == 1


def by_column(
    units: Units, fake: np.ndarray, real: np.ndarray, *, bounds: bool
) -> dict[str, float]:
    """Return W1 of each column in its own unit, `w1/column/NAME`, and its baseline, `.../floor`.

    Args:
      units: units of the rows.
      fake, real: points [n, d] and [m, d] in the networks' scale, in random order.
      bounds: whether to add `.../lower` and `.../upper`, at 95% for each column; they are valid
        for data that no training step has seen.
    """
    half = len(real) // 2
    result: dict[str, float] = {"columns/points": half}
    fakes, reals = units.by_column(fake), units.by_column(real)
    for name in fakes:
        x, y = fakes[name], reals[name]
        key = f"{COLUMN}{name.replace('/', '_')}"
        result[key] = column_w1(x[:half], y[:half]).value
        result[f"{key}/floor"] = column_w1(y[:half], y[half:]).value
        if bounds:
            _, result[f"{key}/lower"], result[f"{key}/upper"] = column_w1(x, y)
    return result


def column_w1(x: Any, y: Any) -> ColumnW1:
    """Return exact W1 between real values [n] and [m], or between those of a category.

    The bounds follow from the Dvoretzky-Kiefer-Wolfowitz inequality (Massart, 1990) for the two
    distribution functions; for a category, from McDiarmid's for the two vectors of shares.

    Example:
      >>> w1 = column_w1(np.zeros(10_000), np.full(10_000, 3.0))
      >>> w1.value, w1.lower > 2.8, w1.upper
      (3.0, True, 3.0)
    """
    sizes, alpha = (len(x), len(y)), 1 - CONFIDENCE
    if np.asarray(x).dtype.kind in "USO":
        names, index = np.unique(np.concatenate([x, y]).astype(str), return_inverse=True)
        p, q = (
            np.bincount(side, minlength=len(names)) / len(side)
            for side in np.split(index.reshape(-1), [len(x)])
        )
        value = float(np.abs(p - q).sum() / 2)
        means = (math.sqrt(len(names) / n) / 2 for n in sizes)
        margin = sum(means) + sum(math.sqrt(math.log(2 / alpha) / (2 * n)) for n in sizes)
        return ColumnW1(value, max(value - margin, 0.0), min(value + margin, 1.0))
    x, y = (np.sort(np.asarray(v, np.float64)) for v in (x, y))
    z = np.sort(np.concatenate([x, y]))
    gap, width = np.abs(_below(x, z) - _below(y, z))[:-1], np.diff(z)
    margin = sum(math.sqrt(math.log(4 / alpha) / (2 * n)) for n in sizes)
    return ColumnW1(
        float(gap @ width),
        float(np.maximum(gap - margin, 0) @ width),
        float(np.minimum(gap + margin, 1) @ width),
    )


def _below(values: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the share of sorted values up to each z."""
    return np.searchsorted(values, z, "right") / len(values)
