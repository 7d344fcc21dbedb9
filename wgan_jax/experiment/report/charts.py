"""SVG line charts whose text stays readable at every width.

The frame stretches with the page while lines and text keep their size: curves are in an inner
`svg` that is stretched, labels outside of it at percentages.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from wgan_jax.experiment.plots import running_median
from wgan_jax.experiment.report.axis import Axis, number, short
from wgan_jax.experiment.report.markup import Markup, table, tag

_SIDE, _POINTS, _ROWS, _OUTLIERS = 1_000, 300, 12, 1.5


class Series(NamedTuple):
    """A curve, drawn with a class of the style sheet; a `sparse` one shows every point."""

    name: str
    x: np.ndarray
    y: np.ndarray
    css_class: str
    sparse: bool = False


class Band(NamedTuple):
    """The area between two curves, drawn with a class of the style sheet."""

    lower: Series
    upper: Series
    css_class: str


def chart(
    title: str,
    unit: str,
    series: Sequence[Series],
    *,
    log: bool = False,
    zero: bool = False,
    note: str = "",
    band: Band | None = None,
) -> Markup | None:
    """A figure with title, legend, axes and the numbers behind it; None for less than two points.

    A dense series is drawn faintly as the minimum and maximum of each of its bins, and
    as the running median of the bins' medians. Values that a log axis cannot show are left out.
    """
    drawn = [clean(s, log) for s in series]
    drawn = [s for s in drawn if len(s.x) > 0]
    if not drawn or max(len(s.x) for s in drawn) < 2:
        return None
    medians = [s if s.sparse else smooth(s) for s in drawn]
    low_x = min(float(s.x[0]) for s in drawn)
    x = Axis(low_x, max(float(s.x[-1]) for s in drawn), False)
    y = _y_range(drawn, medians, log, zero)
    lines = [_curve(s, median, x, y) for s, median in zip(drawn, medians, strict=True)]
    shown = json.dumps([_readout(s, x, y) for s in medians])
    plot = tag(
        "svg",
        _grid(x, y),
        tag(
            "svg",
            *([] if band is None else [_area(band, x, y)]),
            *lines,
            tag("line", x1=0, x2=0, y1=0, y2=_SIDE, class_="cursor"),
            viewBox=f"0 0 {_SIDE} {_SIDE}",
            preserveAspectRatio="none",
            width="100%",
            height="100%",
        ),
        _labels(x, y),
        class_="plot",
        role="img",
        tabindex=0,
        aria_label=f"{title}. {' '.join(_in_words(s) for s in medians)}",
        data_curves=shown,
    )
    legend = tag(
        "p", *(tag("span", s.name, class_=f"key {s.css_class}") for s in drawn), class_="legend"
    )
    cut = any(((s.y < y.low) | (s.y > y.high)).any() for s in drawn)
    notes = [note, "A few outliers lie outside the frame." if cut else ""]
    return tag(
        "figure",
        tag("figcaption", title),
        legend,
        tag("p", unit, class_="unit"),
        plot,
        tag("output", "generator iterations", class_="readout"),
        *(tag("p", line, class_="note") for line in notes if line),
        tag("details", tag("summary", "The numbers"), _numbers(title, medians)),
        class_="chart",
    )


def clean(series: Series, log: bool) -> Series:
    """The finite points in order of x; the last of those with the same x."""
    x, y = np.asarray(series.x, float), np.asarray(series.y, float)
    valid = np.isfinite(x) & np.isfinite(y) & (np.abs(y) < 1e100) & ((y > 0) | (not log))
    x, y = x[valid], y[valid]
    index = np.unique(x[::-1], return_index=True)[1]
    return series._replace(x=x[::-1][index], y=y[::-1][index])


def bins(series: Series) -> list[slice]:
    """At most 300 runs of consecutive points, of equal size up to rounding."""
    edges = np.linspace(0, len(series.x), min(len(series.x), _POINTS) + 1).astype(int)
    return [slice(a, b) for a, b in itertools.pairwise(edges)]


def smooth(series: Series) -> Series:
    """The running median of the bins' medians, each placed at the last x of its bin."""
    parts = bins(series)
    x = np.array([series.x[part][-1] for part in parts])
    y = running_median(np.array([np.median(series.y[part]) for part in parts]))
    return series._replace(x=x, y=y)


def thin(series: Series) -> Series:
    """The minimum and the maximum of each bin."""
    index = [
        part.start + k
        for part in bins(series)
        for k in sorted({int(np.argmin(series.y[part])), int(np.argmax(series.y[part]))})
    ]
    return series._replace(x=series.x[index], y=series.y[index])


def _y_range(series: list[Series], medians: list[Series], log: bool, zero: bool) -> Axis:
    """All values (and zero); only medians and 98% of values if outliers would flatten the rest."""
    scale = np.log10 if log else np.asarray
    values = scale(np.concatenate([[0.0] * zero, *(s.y for s in series)]))
    ends = [np.quantile(scale(s.y), (0.01, 0.99)) for s in series if not s.sparse]
    most = np.concatenate([[0.0] * zero, *ends, *(scale(s.y) for s in medians)])
    full, inner = np.ptp(values), np.ptp(most)
    shown = values if full <= _OUTLIERS * inner else most
    margin = 0.05 * np.ptp(shown) or 0.05 * abs(shown[0]) or 0.5
    low, high = float(shown.min() - margin), float(shown.max() + margin)
    return Axis(10**low, 10**high, True) if log else Axis(low, high, False)


def _curve(series: Series, median: Series, x: Axis, y: Axis) -> Markup:
    if series.sparse:
        dots = [_dot(a, b, x, y) for a, b in zip(median.x, median.y, strict=True)]
        dots = dots if len(dots) <= _POINTS // 4 else []
        return tag("g", _line(thin(series), x, y, "line"), *dots, class_=series.css_class)
    return tag(
        "g",
        _line(thin(series), x, y, "line faint"),
        _line(median, x, y, "line"),
        class_=series.css_class,
    )


def _area(band: Band, x: Axis, y: Axis) -> Markup:
    lower, upper = clean(band.lower, False), clean(band.upper, False)
    forward = _points(lower.x, lower.y, x, y)
    back = _points(upper.x[::-1], upper.y[::-1], x, y)
    return tag("polygon", points=f"{forward} {back}", class_=f"band {band.css_class}")


def _line(series: Series, x: Axis, y: Axis, css_class: str) -> Markup:
    return tag("polyline", points=_points(series.x, series.y, x, y), class_=css_class)


def _dot(at: float, value: float, x: Axis, y: Axis) -> Markup:
    """A zero-length line with round ends: a dot that does not stretch with the frame."""
    place = _points(np.array([at]), np.array([value]), x, y).replace(",", " ")
    return tag("path", d=f"M{place}h0", class_="dot")


def _points(xs: np.ndarray, ys: np.ndarray, x: Axis, y: Axis) -> str:
    across, down = _SIDE * x(xs), _SIDE * np.clip(1 - y(ys), -0.1, 1.1)
    return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))


def _grid(x: Axis, y: Axis) -> Markup:
    lines = [
        tag("line", x1=0, x2="100%", y1=at, y2=at) for at in _percents(1 - y(np.array(y.ticks())))
    ]
    lines += [
        tag("line", x1=at, x2=at, y1=0, y2="100%") for at in _percents(x(np.array(x.ticks())))
    ]
    return tag("g", *lines, class_="grid")


def _labels(x: Axis, y: Axis) -> Markup:
    upright = [
        tag("text", number(value), x=-8, y=at, dy="0.32em", text_anchor="end")
        for value, at in zip(y.ticks(), _percents(1 - y(np.array(y.ticks()))), strict=True)
    ]
    across = [
        tag("text", short(value), x=at, y="100%", dy="1.4em", text_anchor="middle")
        for value, at in zip(x.ticks(), _percents(x(np.array(x.ticks()))), strict=True)
    ]
    return tag("g", *upright, *across, class_="labels", aria_hidden="true")


def _percents(places: np.ndarray) -> list[str]:
    return [f"{100 * place:.2f}%" for place in np.atleast_1d(places)]


def _readout(series: Series, x: Axis, y: Axis) -> list:
    """Name, x positions, steps and values of a curve, for the readout."""
    positions = [round(float(p), 4) for p in np.atleast_1d(x(series.x))]
    values = [number(v) for v in series.y]
    return [series.name, positions, [f"{step:,.0f}" for step in series.x], values]


def _in_words(series: Series) -> str:
    first, last = number(series.y[0]), number(series.y[-1])
    return (
        f"{series.name}: from {first} to {last}, between {number(min(series.y))} and "
        f"{number(max(series.y))}."
    )


def _numbers(title: str, series: list[Series]) -> Markup:
    """A table of at most 12 rows, including the last step."""
    steps = np.unique(np.concatenate([s.x for s in series]))
    steps = steps[np.unique(np.linspace(0, len(steps) - 1, _ROWS).round().astype(int))]
    rows = [[f"{step:,.0f}", *(_latest(s, step) for s in series)] for step in steps]
    return table(["iteration", *(s.name for s in series)], rows, title)


def _latest(series: Series, step: float) -> str:
    i = np.searchsorted(series.x, step, side="right") - 1
    return number(series.y[i]) if i >= 0 else ""
