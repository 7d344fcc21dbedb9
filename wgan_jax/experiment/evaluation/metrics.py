"""Table of metrics: their meaning, and the keys of a result that belong to each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple


class Metric(NamedTuple):
    """Description of a metric.

    Attributes:
      meaning: a phrase for reports.
      better: lower or higher; empty if neither is.
      form: format of its value in tables.
      error, baseline, points: keys of its standard error, of the same metric between data and
        other data, and of the number of samples of each kind; None for keys under its own name:
        `NAME/error`, `NAME/floor` and `NAME/points`.
      title: title of its curve over training in a comparison of runs; empty for no curve.
      is_distance: whether it is given in the unit of the data, if they have one.
    """

    meaning: str
    better: str = ""
    form: str = ".4g"
    error: str | None = None
    baseline: str | None = None
    points: str | None = None
    title: str = ""
    is_distance: bool = False


class Row(NamedTuple):
    """Metric of a result, with its error, baseline and sample size where known."""

    name: str
    metric: Metric
    value: float
    error: float | None
    baseline: float | None
    points: float | None


COLUMN, CLASS = "w1/column/", "w1/class/"
BOUNDS = ("w1/value", "w1/lower", "w1/upper")  # may be followed by the name of features
METRICS = {
    "w1/exact": Metric(
        "exact W1 between samples and data; real against real is what a second sample of the data "
        "scores, and a collapsed or shrunken generator can score below it",
        "lower",
        error="w1/error",
        baseline="w1/floor",
        points="points",
        is_distance=True,
    ),
    "w1/value": Metric(
        "W1 between samples and held-out data, estimated by a critic fitted for the purpose",
        "lower",
        title="W1, estimated",
        is_distance=True,
    ),
    "w1/lower": Metric(
        "lower bound on W1; both bounds hold together with 95% confidence",
        "lower",
        title="Certified lower bound on W1 (95% at each point)",
        is_distance=True,
    ),
    "w1/upper": Metric(
        "upper bound on W1",
        "lower",
        title="Certified upper bound on W1 (95% at each point)",
        is_distance=True,
    ),
    "w1/critic": Metric(
        "what the run's own critic sees of W1: its held-out score divided by its Lipschitz bound",
        is_distance=True,
    ),
    "w1/critic_share": Metric("w1/critic as a share of the estimate of W1", form=".1%"),
    "w1/lipschitz": Metric("certified upper bound on the critic's Lipschitz constant"),
    "w1/held_out": Metric("the critic's estimate on held-out data, in its objective's units"),
    "w1/training": Metric("the critic's estimate on its training data, in its objective's units"),
    "w1/minibatch": Metric(
        "exact W1 at the size of a minibatch",
        "lower",
        baseline="w1/minibatch_floor",
        title="Exact W1 at the size of a minibatch",
        is_distance=True,
    ),
    "w1/sliced": Metric(
        "sliced W1 between samples and data",
        "lower",
        baseline="w1/sliced_floor",
        title="Sliced W1",
        is_distance=True,
    ),
    "w1/column": Metric(
        "exact W1 between the values of a column in its own unit; for a categorical column, the "
        "share of rows that would have to change",
        "lower",
        points="columns/points",
    ),
    "w1/class": Metric("W1 between samples of a class and held-out data of that class", "lower"),
    "modes/found": Metric(
        "modes with a sample within three standard deviations",
        "higher",
        ",.0f",
        points="modes/points",
        title="Modes found",
    ),
    "modes/total": Metric("modes of the data", form=",.0f"),
    "modes/high_quality": Metric(
        "share of samples within three standard deviations of a mode",
        "higher",
        ".1%",
        points="modes/points",
        title="Share of samples within three standard deviations of a mode",
    ),
    "frechet": Metric("Fréchet distance between features; lower is nearer", "lower"),
    "kernel": Metric("kernel distance between features; lower is nearer", "lower"),
    "precision": Metric("share of samples that look like data; higher is better", "higher"),
    "recall": Metric("share of the data that samples look like; higher is better", "higher"),
    "density": Metric("how densely data surround the samples; higher is better", "higher"),
    "coverage": Metric("share of the data that have a sample nearby; higher is better", "higher"),
    "classifier": Metric(
        "number and clarity of classes (like the Inception score); higher is better", "higher"
    ),
    "accuracy": Metric(
        "share of samples classified as the requested class; higher is better", "higher"
    ),
    "data_copying": Metric(
        "share of pairs in which the sample is nearer to the training data than a held-out "
        "example is; 0.5 if nothing is copied"
    ),
    "near_copies": Metric(
        "share of samples that are nearer to the training data than 99% of the held-out data; "
        "0.01 if nothing is copied",
        "lower",
    ),
    "membership": Metric(
        "share of samples whose nearest example, among training and held-out data, is held out; "
        "lower than real against real if samples are copies"
    ),
}


def metric_of(name: str) -> Metric | None:
    """Return the metric of a key such as `frechet/lenet` or `w1/column/age`; None for other keys.

    Example:
      >>> metric_of("frechet/lenet").better
      'lower'
      >>> metric_of("w1/lower/lenet").better
      'lower'
      >>> metric_of("frechet/lenet/error") is None
      True
    """
    head, _, last = name.rpartition("/")
    if head in BOUNDS and last not in ("floor", "points"):
        return METRICS[head]
    for prefix in (COLUMN, CLASS):
        if name.startswith(prefix):
            return None if "/" in name.removeprefix(prefix) else METRICS[prefix.rstrip("/")]
    family, _, features = name.partition("/")
    known = METRICS.get(name)
    return METRICS.get(family) if known is None and features and "/" not in features else known


def rows(result: Mapping[str, Any]) -> list[Row]:
    """Return the metrics of a result, in its order.

    Example:
      >>> [row] = rows({"step": 5, "w1/exact": 3.0, "w1/floor": 2.0, "points": 750})
      >>> row.name, row.value, row.error, row.baseline, row.points
      ('w1/exact', 3.0, None, 2.0, 750)
    """
    metrics = []
    for name, value in result.items():
        metric = metric_of(name)
        if metric is not None:
            keys = {"error": metric.error, "floor": metric.baseline, "points": metric.points}
            rest = [result.get(key or f"{name}/{leaf}") for leaf, key in keys.items()]
            metrics.append(Row(name, metric, value, *rest))
    return metrics
