"""Formats evaluations for the screen and the report, each number with its sample sizes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from wgan_jax.experiment.evaluation.metrics import (
    BOUNDS,
    CLASS,
    COLUMN,
    METRICS,
    Row,
    metric_of,
    rows,
)

_Z, _P, _Z_OF_MEMBERS = 3, 1e-3, 2  # thresholds beyond which samples count as copies
_ENOUGH = 10  # samples expected nearest to held-out data, for a lack of them to be visible
_NAMED = [metric for name, metric in METRICS.items() if "/" in name]
# Keys of a member's row without a column: the note below the table or another column states
# them, and the ratio of W1 is uninformative in high dimensions.
_IN_THE_NOTE = ("points", "weights", "data", "modes/total", "modes/points", "w1/ratio")


def summarize(result: Mapping[str, Any]) -> str:
    """Format an evaluation as lines of text, with a table of the metrics on features.

    Example:
      >>> print(summarize({"weights": "averaged", "data": "training data", "points": 750,
      ...     "w1/exact": 3.5, "w1/error": 0.125, "w1/floor": 2.5, "draws": 2}))
      weights            averaged, as for samples
      exact W1           3.5 ± 0.12 (750 samples against 750 of the training data, mean of 2 draws)
      data against data  2.5 (750 of the training data against 750 others; not a lower limit:
                         a collapsed or shrunken generator can score below it)
      >>> bounds = {"w1/value": 0.031, "w1/lower": 0.027, "w1/upper": 0.037}
      >>> print(summarize(bounds | {"w1/value/floor": 0.0, "w1/upper/floor": 0.006}))
      W1                 0.031 (0.027 to 0.037, 95%); data against data 0 (0 to 0.006)
    """
    lines: list[tuple[str, str]] = []
    if result.get("weights") == "averaged":
        lines.append(("weights", "averaged, as for samples"))
    if "modes/found" in result:
        n = f" ({int(result['modes/points']):,} samples)" if "modes/points" in result else ""
        lines.append(("modes found", f"{format_value('modes/found', result)}{n}"))
        near = format_value("modes/high_quality", result)
        lines.append(("within 3 std", f"{near} of the samples"))
    unit = _unit(result)
    if "w1/exact" in result:
        lines += _transport(result, unit)
    lines += _columns(result)
    if "w1/critic" in result:
        lines.append(("critic sees", _critic(result)))
    if "w1/value" in result:
        lines.append(("W1", f"{certified(result)}{unit}{_data_against_data(result)}"))
    elif "w1/training" in result:
        lines.append(("bounds on W1", "none: no data are held out from training"))
    lines += _classes(result, unit)
    for features in _below(f"{BOUNDS[0]}/", result):
        words = f"{certified(result, features)}{_data_against_data(result, features)}"
        lines.append((f"W1 on {features}", words))
    if verdict := memorization(result):
        lines.append(("memorization", f"\n{'':19}".join(verdict)))
    text = "\n".join(f"{name:18} {words}" for name, words in lines)
    return "\n\n".join(filter(None, [text, features_table(result) if _on_features(result) else ""]))


def certified(result: Mapping[str, Any], features: str = "") -> str:
    """Format the estimate of W1, or that on the named features, with its bounds.

    Example:
      >>> certified({"w1/value": 0.03125, "w1/lower": 0.0271, "w1/upper": 0.0374})
      '0.0312 (0.0271 to 0.0374, 95%)'
    """
    names = (f"{name}/{features}" if features else name for name in BOUNDS)
    value, lower, upper = (f"{result[name]:.3g}" for name in names)
    return f"{value} ({lower} to {upper}, 95%)"


def memorization(result: Mapping[str, Any]) -> list[str]:
    """State whether samples are copies of training data; empty if that was not evaluated.

    Copying is reported only if samples are nearer to the training data than held-out data are
    and than training data are to each other, while too few are nearest to held-out data.

    Example:
      >>> found = {"data_copying/pixels": 0.502, "data_copying/pixels/z": -0.1,
      ...     "data_copying/pixels/z/training": 0.2, "near_copies/pixels": 0.012,
      ...     "near_copies/pixels/expected": 0.01, "near_copies/pixels/p": 0.31,
      ...     "near_copies/pixels/p/training": 0.4, "near_copies/pixels/membership": 0.5,
      ...     "membership/pixels": 0.107, "membership/pixels/floor": 0.1,
      ...     "membership/pixels/points": 1_000, "membership/pixels/z": 0.6,
      ...     "memorization/held_out": 200, "memorization/training": 1_800}
      >>> print("\\n".join(memorization(found)))
      no sign of copying (1,000 samples, 200 held-out, 1,800 training examples, on pixels)
      nearer to training data than held-out data: 50.2% of pairs (z -0.1; copies: < -3)
      nearer than 99% of the held-out data: 1.2% of samples (1.0% expected, p = 0.31)
      nearest to a held-out example: 10.7% of samples (10.0% expected, z +0.6)
    """
    spaces = _below("data_copying/", result)
    if not spaces:
        reason = result.get("memorization")
        return [f"no statistic: {reason}"] if isinstance(reason, str) else []
    features = spaces[-1]
    nearer, near, member = (
        f"{name}/{features}" for name in ("data_copying", "near_copies", "membership")
    )
    expected = result[f"{near}/expected"]
    samples = f"{int(result[f'{member}/points']):,} samples"
    held_out, training = (f"{int(result[f'memorization/{k}']):,}" for k in ("held_out", "training"))
    counts = f"{samples}, {held_out} held-out, {training} training examples"
    pairs, z = f"{result[nearer]:.1%} of pairs", result[f"{nearer}/z"]
    share, p_value = f"{1 - expected:.0%} of the held-out data", result[f"{near}/p"]
    return [
        f"{_verdict(result, nearer, near, member)} ({counts}, on {features})",
        f"nearer to training data than held-out data: {pairs} (z {z:+.1f}; copies: < -{_Z})",
        f"nearer than {share}: {result[near]:.1%} of samples "
        f"({expected:.1%} expected, p = {p_value:.2g})",
        f"nearest to a held-out example: {result[member]:.1%} of samples "
        f"({result[f'{member}/floor']:.1%} expected, z {result[f'{member}/z']:+.1f})",
    ]


def _verdict(result: Mapping[str, Any], nearer: str, near: str, member: str) -> str:
    far = [result[f"{nearer}/{z}"] < -_Z for z in ("z", "z/training")]
    few = [result[f"{near}/{p}"] < _P for p in ("p", "p/training")]
    count = result[f"{member}/points"] * (1 if all(far) else result[near])
    if all(far) and result[f"{member}/z"] < -_Z_OF_MEMBERS:
        return "a sign of copying"
    if all(few) and result[f"{near}/membership"] < -_Z_OF_MEMBERS:
        return "a sign that some samples are copies"
    if (all(far) or all(few)) and count * result[f"{member}/floor"] < _ENOUGH:
        return "a sign of copying, or of samples that are smoother than data"
    if all(far) or all(few):
        return "no sign of copying: samples are nearer, but to held-out data as well"
    if far[0] or few[0]:
        return "no clear sign of copying: training data are as near to each other"
    if result[f"{nearer}/z"] > _Z:
        return "no sign of copying: samples are farther away than held-out data"
    return "no sign of copying"


def _data_against_data(result: Mapping[str, Any], features: str = "") -> str:
    space = f"/{features}" if features else ""
    names = [f"w1/{k}{space}/floor" for k in ("value", "upper")]
    if not result.keys() >= set(names):
        return ""
    value, upper = (f"{result[name]:.3g}" for name in names)
    return f"; data against data {value} (0 to {upper})"


def _below(prefix: str, result: Mapping[str, Any]) -> list[str]:
    """Return the columns, classes or features of the metrics whose keys start with a prefix."""
    names = [name for name in result if name.startswith(prefix) and metric_of(name)]
    return [name.removeprefix(prefix) for name in names]


def _critic(result: Mapping[str, Any]) -> str:
    n, bound = f"{int(result['w1/held_out/points']):,}", f"{result['w1/lipschitz']:.3g}"
    share = (
        f", {format_value('w1/critic_share', result)} of W1" if "w1/critic_share" in result else ""
    )
    return (
        f"{result['w1/critic']:.3g}{share} (its score on {n} held-out examples, divided by its "
        f"Lipschitz bound {bound})"
    )


def _transport(result: Mapping[str, Any], unit: str) -> list[tuple[str, str]]:
    n, draws = f"{int(result['points']):,}", int(result["draws"])
    data, mean = result.get("data", "data"), f", mean of {draws} draws" if draws > 1 else ""
    error = f" ± {result['w1/error']:.2g}" if "w1/error" in result else ""
    exact, floor = format_value("w1/exact", result), f"{result['w1/floor']:.4g}"
    warning = f"not a lower limit:\n{'':18} a collapsed or shrunken generator can score below it"
    return [
        ("exact W1", f"{exact}{error}{unit} ({n} samples against {n} of the {data}{mean})"),
        ("data against data", f"{floor}{unit} ({n} of the {data} against {n} others; {warning})"),
    ]


def _unit(result: Mapping[str, Any]) -> str:
    """Return the unit of distances between rows, if each column has its own unit."""
    return " standardized" if "columns/points" in result else ""


def _columns(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Format W1 of each column in its own unit, next to that of data against data."""
    columns = _below(COLUMN, result)
    if not columns:
        return []
    bounded = f"{COLUMN}{columns[0]}/lower" in result
    kind = "held-out data" if bounded else str(result.get("data", "data"))
    n = f"{int(result['columns/points']):,}"
    lines = [("W1 by column", f"in each column's unit: {n} samples against {n} of the {kind}")]
    for column in columns:
        name, bounds = f"{COLUMN}{column}", ""
        if bounded:
            bounds = (
                f", bounds {result[f'{name}/lower']:.4g} to {result[f'{name}/upper']:.4g} (95%)"
            )
        floor = f"data against data {result[f'{name}/floor']:.4g}"
        title = " ".join(column.split())  # names may span several lines
        lines.append((f"  {title}", f"{result[name]:.4g}  ({floor}{bounds})"))
    return lines


def _classes(result: Mapping[str, Any], unit: str) -> list[tuple[str, str]]:
    """Format W1 within each class, with its bounds."""
    classes = _below(CLASS, result)
    where = f", in{unit} units" if unit else ""
    lines = [("W1 by class", f"samples of a class against held-out data of it{where}")]
    for each in classes:
        name = f"{CLASS}{each}"
        bounds = f"{result[f'{name}/lower']:.3g} to {result[f'{name}/upper']:.3g}, 95%"
        n = f"{int(result[f'{name}/points']):,} of each"
        title = " ".join(each.split())
        lines.append((f"  {title}", f"{result[name]:.3g} ({bounds}; {n})"))
    return lines if classes else []


def format_value(name: str, result: Mapping[str, Any]) -> str:
    """Format a number of a result as in tables.

    Example:
      >>> format_value("modes/found", {"modes/found": 7.0, "modes/total": 8})
      '7 of 8'
      >>> format_value("modes/high_quality", {"modes/high_quality": 0.975})
      '97.5%'
    """
    metric = metric_of(name)
    text = format(result[name], metric.form if metric else "g")
    return f"{text} of {result['modes/total']:,.0f}" if name == "modes/found" else text


def features_table(result: Mapping[str, Any]) -> str:
    """Format a table of the metrics on features, next to real against real.

    Example:
      >>> print(features_table({"frechet/lenet": 3.25, "frechet/lenet/error": 0.25,
      ...     "frechet/lenet/floor": 0.5, "frechet/lenet/points": 5000}))
      measure              value     error  real/real  samples  better
      frechet/lenet         3.25      0.25        0.5    5,000  lower
    """
    measured = _on_features(result)
    width = max([18, *(len(row.name) for row in measured)])
    lines = [
        f"{'measure':{width}} {'value':>7} {'error':>9} {'real/real':>10} {'samples':>8}  better"
    ]
    for row in measured:
        lines.append(
            f"{row.name:{width}} {row.value:7.4g} {_number(row.error, '9.2g')} "
            f"{_number(row.baseline, '10.4g')} {_number(row.points, '8,')}  {row.metric.better}"
        )
    return "\n".join(line.rstrip() for line in lines)


def _on_features(result: Mapping[str, Any]) -> list[Row]:
    """Return the metrics on features."""
    return [row for row in rows(result) if row.metric not in _NAMED]


def _number(value: Any, form: str) -> str:
    width = form.split(".")[0].rstrip(",")
    return f"{'-':>{width}}" if value is None else f"{value:{form}}"


def members_columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the columns of a table of members, in the order of the rows' keys."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [name for name in names if name not in _IN_THE_NOTE]


def members_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format the members of a sweep as a table, with mean and standard deviation over seeds."""
    names = members_columns(rows)
    varied = [name for name in names if "/" not in name]
    names = [*varied, *(measures := [name for name in names if "/" in name])]
    cells = [names] + [[format_value(name, row) for name in names] for row in rows]
    for group in _by_combination(rows, varied):
        means = {name: _mean_and_std([row[name] for row in group]) for name in measures}
        head = ["mean"] + [format_value(n, group[0]) if "." in n else "" for n in varied[1:]]
        cells.append(head + [means[name] for name in measures])
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = (
        "  ".join(cell.rjust(w) for cell, w in zip(line, widths, strict=True)) for line in cells
    )
    return "\n".join([*lines, members_note(rows[0])])


def members_note(row: Mapping[str, Any]) -> str:
    """State which samples the numbers of a sweep's members come from.

    Example:
      >>> print(members_note({"points": 500, "weights": "raw", "data": "training data"}))
      500 samples of each member's raw weights against 500 of the training data; w1/floor: 500 of \
the training data against 500 others, which a collapsed generator can score below
    """
    n, data = f"{row['points']:,}", row["data"]
    return (
        f"{n} samples of each member's {row['weights']} weights against {n} of the {data}; "
        f"w1/floor: {n} of the {data} against {n} others, which a collapsed generator can score "
        "below"
    )


def _by_combination(
    rows: Sequence[Mapping[str, Any]], varied: list[str]
) -> list[list[Mapping[str, Any]]]:
    hypers = [name for name in varied if "." in name]
    grouped = itertools.groupby(rows, lambda row: [row[name] for name in hypers])
    groups = [list(group) for _, group in grouped]
    return groups if len(groups[0]) > 1 else []


def _mean_and_std(values: list[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f}"
