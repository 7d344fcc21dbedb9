"""What `evaluate` found, as a table to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LEAVES = ("error", "floor", "points")
_BETTER = {"frechet": "lower", "kernel": "lower", "w1": "lower"}


def scorecard(result: Mapping[str, Any]) -> str:
    """A row for each measure: its value with its error, and real against real.

    Example:
      >>> print(scorecard({"frechet/lenet": 3.25, "frechet/lenet/error": 0.25,
      ...     "frechet/lenet/floor": 0.5, "frechet/lenet/points": 5000}))
      measure              value     error  real/real  samples  better
      frechet/lenet         3.25      0.25        0.5    5,000  lower
    """
    rows = [f"{'measure':18} {'value':>7} {'error':>9} {'real/real':>10} {'samples':>8}  better"]
    for name in rows_of(result):
        error, floor, points = (result.get(f"{name}/{leaf}") for leaf in _LEAVES)
        better = _BETTER.get(name.partition("/")[0], "higher")
        rows.append(
            f"{name:18} {result[name]:7.4g} {_number(error, '9.2g')} {_number(floor, '10.4g')} "
            f"{_number(points, '8,')}  {better}"
        )
    return "\n".join(rows)


def rows_of(result: Mapping[str, Any]) -> list[str]:
    """The measures that have a floor beside them."""
    return [name for name in result if f"{name}/floor" in result]


def _number(value: Any, form: str) -> str:
    width = form.split(".")[0].rstrip(",")
    return f"{'-':>{width}}" if value is None else f"{value:{form}}"
