"""What `evaluate` found, as a table to read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wgan_jax.experiment.evaluation.metrics import METRICS, Row, rows

_NAMED = [metric for name, metric in METRICS.items() if "/" in name]


def scorecard(result: Mapping[str, Any]) -> str:
    """A row for each measure: its value with its error, and real against real.

    Example:
      >>> print(scorecard({"frechet/lenet": 3.25, "frechet/lenet/error": 0.25,
      ...     "frechet/lenet/floor": 0.5, "frechet/lenet/points": 5000}))
      measure              value     error  real/real  samples  better
      frechet/lenet         3.25      0.25        0.5    5,000  lower
    """
    lines = [f"{'measure':18} {'value':>7} {'error':>9} {'real/real':>10} {'samples':>8}  better"]
    for row in of_features(result):
        lines.append(
            f"{row.name:18} {row.value:7.4g} {_number(row.error, '9.2g')} "
            f"{_number(row.baseline, '10.4g')} {_number(row.points, '8,')}  {row.metric.better}"
        )
    return "\n".join(lines)


def of_features(result: Mapping[str, Any]) -> list[Row]:
    """The metrics on features."""
    return [row for row in rows(result) if row.metric not in _NAMED]


def _number(value: Any, form: str) -> str:
    width = form.split(".")[0].rstrip(",")
    return f"{'-':>{width}}" if value is None else f"{value:{form}}"
