"""Charts of a report: distance to the data, training, and all other logged metrics."""

from __future__ import annotations

import numpy as np

from wgan_jax.experiment.report.axis import number
from wgan_jax.experiment.report.charts import Band, Series, chart
from wgan_jax.experiment.report.contents import Lines, RunArtifacts, evaluations
from wgan_jax.experiment.report.markup import Markup, tag
from wgan_jax.experiment.report.names import ESTIMATES, type_name

_OTHERS, _TOGETHER, _STILL = 8, 5, 0.05
_TIMES = ("time/steps_per_second", "time/evaluation")  # shown in a table


def distance(contents: RunArtifacts) -> list[Markup]:
    evaluated, lines = evaluations(contents), contents.lines
    held_out = not any("w1/training" in line for line in evaluated)
    unseen = "w1/held_out" if held_out else "w1/training"
    estimate = [
        series("training batches", lines, "critic/estimate", "a"),
        series("held-out data" if held_out else "all data", evaluated, unseen, "b", sparse=True),
    ]
    meaning = ESTIMATES.get(type_name(contents.config.get("objective")), "")
    charts = [
        _certified(evaluated),
        chart(course("The critic's estimate", lines, "critic/estimate"), meaning, estimate),
        _exact(evaluated, held_out),
    ]
    return grid(charts)


def _certified(evaluated: Lines) -> Markup | None:
    """W1 with its bounds."""
    value = series("estimate", evaluated, "w1/value", "a", sparse=True)
    lower = series("lower bound", evaluated, "w1/lower", "b", sparse=True)
    upper = series("upper bound", evaluated, "w1/upper", "d", sparse=True)
    sizes = [line["w1/value/points"] for line in evaluated if "w1/value/points" in line]
    n = f"; {sizes[-1]:,.0f} of these give the lower bound" if sizes else ""
    return chart(
        course("W1", evaluated, "w1/value"),
        "W1 in units of the data",
        [value, lower, upper],
        zero=True,
        band=Band(lower, upper, "a"),
        note=f"Between samples and held-out data{n}. At each point, both bounds hold with 95% "
        "confidence.",
    )


def _exact(evaluated: Lines, held_out: bool) -> Markup | None:
    exact, floor = "w1/minibatch", "w1/minibatch_floor"
    if not any(exact in line for line in evaluated):
        exact, floor = "w1/exact", "w1/floor"
    w1 = [
        series("samples against data", evaluated, exact, "a", sparse=True),
        series("data against data: the noise floor", evaluated, floor, "c", sparse=True),
    ]
    return chart(
        course("Exact W1 of a few samples", evaluated, exact, floor),
        "W1 in units of the data",
        w1,
        zero=True,
        note=_note(evaluated, exact, held_out),
    )


def _note(evaluated: Lines, exact: str, held_out: bool) -> str:
    """A note on the samples behind exact W1, and on what it does not show."""
    size = "w1/minibatch/points" if exact == "w1/minibatch" else "points"
    sizes = [line[size] for line in evaluated if size in line]
    n = f" {sizes[-1]:,.0f}" if sizes else ""
    data = "data" if exact != "w1/minibatch" else "held-out data" if held_out else "training data"
    return (
        f"Exact W1 is between{n} samples and as many of the {data}. A second sample of the data "
        "would score at the noise floor; a collapsed or shrunken generator can score lower."
    )


def training(contents: RunArtifacts) -> list[Markup]:
    lines = contents.lines
    names = ("critic/loss", "generator/loss", "critic/gradient_norm", "generator/gradient_norm")
    critic, generator, critic_norm, generator_norm = names
    charts = [
        chart(
            "Losses",
            "each player's own loss",
            [series("critic", lines, critic, "a"), series("generator", lines, generator, "b")],
        ),
        chart(
            "Gradient norms",
            "L2 norm (logarithmic)",
            [
                series("critic", lines, critic_norm, "a"),
                series("generator", lines, generator_norm, "b"),
            ],
            log=True,
        ),
        *_others(contents, {*names, "critic/estimate", "step", *_TIMES}),
    ]
    return grid(charts)


def _others(contents: RunArtifacts, shown: set[str]) -> list[Markup | None]:
    """All other logged values that changed, grouped by the prefix of their names."""
    groups: dict[str, list[str]] = {}
    for name in {name: None for line in contents.lines for name in line}:
        family, _, rest = name.rpartition("/")
        known = name in shown or family.startswith(("w1", "health")) or rest in ("", "std")
        if not known and len({line[name] for line in contents.lines if name in line}) > 1:
            groups.setdefault(name if family == "modes" else family, []).append(name)
    few = [names[:_TOGETHER] for names in groups.values()][:_OTHERS]
    return [
        chart(
            f"{names[0].rpartition('/')[0]}: {', '.join(n.rpartition('/')[2] for n in names)}",
            "as logged",
            [
                series(name, contents.lines, name, css_class)
                for name, css_class in zip(names, "abcde", strict=False)
            ],
        )
        for names in few
    ]


def series(name: str, lines: Lines, key: str, css_class: str, *, sparse: bool = False) -> Series:
    """The values of a key over the steps that have it."""
    points = [(line["step"], line[key]) for line in lines if key in line and "step" in line]
    x, y = zip(*points, strict=True) if points else ((), ())
    return Series(name, np.array(x, float), np.array(y, float), css_class, sparse)


def course(what: str, lines: Lines, key: str, floor: str = "") -> str:
    """A title that summarizes the curve."""
    values = [line[key] for line in lines if key in line]
    if len(values) < 2:
        return what
    n = max(1, len(values) // 20)
    first, last = np.median(values[:n]), np.median(values[-n:])
    if abs(last - first) <= _STILL * max(abs(first), abs(last)):
        title = f"{what} stayed near {number(last, 3)}"
    else:
        verb = "fell" if last < first else "rose"
        title = f"{what} {verb} from {number(first, 3)} to {number(last, 3)}"
    floors = [line[floor] for line in lines if floor in line]
    return f"{title}; data against data {number(np.median(floors), 3)}" if floors else title


def grid(charts: list[Markup | None]) -> list[Markup]:
    """The charts that are not empty, side by side."""
    shown = [chart for chart in charts if chart is not None]
    return [tag("div", *shown, class_="charts")] if shown else []
