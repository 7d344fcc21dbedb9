"""Says what an evaluation found: lines for the screen, each number with its sample sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wgan_jax.experiment.evaluation.metrics import COLUMN, metric_of


def summarize(result: Mapping[str, Any]) -> str:
    """The numbers of the generator as lines to read.

    Example:
      >>> print(summarize({"weights": "averaged", "data": "training data", "points": 750,
      ...     "w1/exact": 3.5, "w1/error": 0.125, "w1/floor": 2.5, "draws": 2}))
      weights            averaged, as for samples
      exact W1           3.5 ± 0.12 (750 samples against 750 of the training data, mean of 2 draws)
      data against data  2.5 (750 of the training data against 750 others; no proof of quality:
                         a collapsed or shrunken generator can score below it)
    """
    rows: list[tuple[str, str]] = []
    if result.get("weights") == "averaged":
        rows.append(("weights", "averaged, as for samples"))
    if "modes/found" in result:
        found, total = int(result["modes/found"]), int(result["modes/total"])
        n = f" ({int(result['modes/points']):,} samples)" if "modes/points" in result else ""
        rows.append(("modes found", f"{found} of {total}{n}"))
        rows.append(("within 3 std", f"{result['modes/high_quality']:.1%} of the samples"))
    unit = _unit(result)
    if "w1/lower" in result:
        n = f"{int(result['w1/lower/points']):,}"
        bound = f"the Lipschitz bound {result['w1/lipschitz']:.3g}"
        score = f"score on {n} held-out data and {n} samples, divided by {bound}"
        rows.append(("lower bound on W1", f"{result['w1/lower']:.4g}{unit} (95%; {score})"))
    elif "w1/training" in result:
        rows.append(("lower bound on W1", "none: no data are held out from training"))
    if "w1/exact" in result:
        rows += _transport(result)
    rows += _columns(result)
    return "\n".join(f"{name:18} {words}" for name, words in rows)


def _transport(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    n, draws = f"{int(result['points']):,}", int(result["draws"])
    data, mean = result.get("data", "data"), f", mean of {draws} draws" if draws > 1 else ""
    error = f" ± {result['w1/error']:.2g}" if "w1/error" in result else ""
    unit = _unit(result)
    beaten = f"no proof of quality:\n{'':18} a collapsed or shrunken generator can score below it"
    return [
        (
            "exact W1",
            f"{result['w1/exact']:.4g}{error}{unit} ({n} samples against {n} of the {data}{mean})",
        ),
        (
            "data against data",
            f"{result['w1/floor']:.4g}{unit} ({n} of the {data} against {n} others; {beaten})",
        ),
    ]


def _unit(result: Mapping[str, Any]) -> str:
    """The unit of distances between rows, where each column has one of its own."""
    return " standardized" if "columns/points" in result else ""


def _columns(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """W1 of each column in its own unit, next to that of data against data."""
    names = [name for name in result if name.startswith(COLUMN) and metric_of(name)]
    if not names:
        return []
    bounded = f"{names[0]}/lower" in result
    kind = "held-out data" if bounded else str(result.get("data", "data"))
    n = f"{int(result['columns/points']):,}"
    rows = [("W1 by column", f"in the unit of each: {n} samples against {n} of the {kind}")]
    for name in names:
        bounds = ""
        if bounded:
            bounds = (
                f", bounds {result[f'{name}/lower']:.4g} to {result[f'{name}/upper']:.4g} (95%)"
            )
        floor = f"data against data {result[f'{name}/floor']:.4g}"
        rows.append((f"  {name.removeprefix(COLUMN)}", f"{result[name]:.4g}  ({floor}{bounds})"))
    return rows


def compared(row: Mapping[str, Any]) -> str:
    """Which samples the numbers of a member of a sweep come from.

    Example:
      >>> print(compared({"points": 500, "weights": "raw", "data": "training data"}))
      500 samples of each member's raw weights against 500 of the training data; w1/floor: 500 of \
the training data against 500 others, which a collapsed generator can score below
    """
    n, data = f"{row['points']:,}", row["data"]
    return (
        f"{n} samples of each member's {row['weights']} weights against {n} of the {data}; "
        f"w1/floor: {n} of the {data} against {n} others, which a collapsed generator can score "
        "below"
    )
