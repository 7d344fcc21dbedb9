"""Page that compares several runs: overlaid curves, and the newest evaluation of each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wgan_jax.experiment.evaluation.comparison import (
    COLUMNS,
    Comparison,
    cells,
    short_names,
    statements,
)
from wgan_jax.experiment.evaluation.metrics import METRICS, metric_of, rows
from wgan_jax.experiment.report import curves, head
from wgan_jax.experiment.report.axis import number
from wgan_jax.experiment.report.charts import chart
from wgan_jax.experiment.report.contents import (
    Lines,
    RunArtifacts,
    evaluations,
    flat,
    read_artifacts,
)
from wgan_jax.experiment.report.markup import Markup, join, table, tag
from wgan_jax.experiment.report.reporter import html_page
from wgan_jax.files import atomic_write

LARGEST = 5  # runs, one for each color
_LOGGED = {"critic/estimate": "The critic's estimate", "critic/loss": "The critic's loss"}


def write_page(path: Path, workdirs: list[Path], comparison: Comparison | None = None) -> None:
    """Write a page that compares runs, from their files alone, with bounds if given.

    Raises:
      UserError: a folder holds no run.
    """
    contents = [read_artifacts(workdir) for workdir in workdirs]
    names = short_names([str(workdir.resolve()) for workdir in workdirs])
    title = f"{len(names)} runs compared" if names else "Samples compared"
    sections = {
        "Distance to the data": [] if comparison is None else _bounds(comparison),
        "Over training": _over_training(names[:LARGEST], contents[:LARGEST]),
        "Newest evaluations": _evaluations(names, contents),
    }
    body = [
        tag(
            "header",
            tag("h1", title),
            *(
                tag("p", tag("b", name), f": {head.title(each)}")
                for name, each in zip(names, contents, strict=True)
            ),
        ),
        *(tag("section", tag("h2", name), *inside) for name, inside in sections.items() if inside),
    ]
    with atomic_write(path) as file:
        file.write(html_page(title, join(body)).encode("utf-8", "replace"))


def _bounds(comparison: Comparison) -> list[Markup]:
    """The table of the bounds, and the conclusions from them."""
    caption = f"W1 to {comparison.reference.title}, {comparison.reference.kind}"
    lines = [tag("p", line) for line in statements(comparison)]
    return [table(["run", *COLUMNS], cells(comparison, number), caption), *lines]


def _over_training(names: list[str], contents: list[RunArtifacts]) -> list[Markup]:
    """A chart for each metric that has a title, and for the critic's own numbers."""
    measured, lines = [evaluations(each) for each in contents], [each.lines for each in contents]
    charts = [
        _overlaid(metric.title, names, measured, key, sparse=True, zero=metric.is_distance)
        for key, metric in METRICS.items()
        if metric.title
    ]
    charts += [_overlaid(title, names, lines, key) for key, title in _LOGGED.items()]
    return curves.grid(charts)


def _overlaid(
    title: str,
    names: list[str],
    runs: list[Lines],
    key: str,
    *,
    sparse: bool = False,
    zero: bool = False,
) -> Markup | None:
    """A chart with one curve per run."""
    series = [
        curves.series(name, lines, key, css_class, sparse=sparse)
        for name, lines, css_class in zip(names, runs, "abcde", strict=False)
    ]
    return chart(title, "one curve per run", series, zero=zero)


def _evaluations(names: list[str], contents: list[RunArtifacts]) -> list[Markup]:
    """A table with a row per measure and a column per run."""
    newest = [_newest(each) for each in contents]
    measures = dict.fromkeys(row.name for each in newest for row in rows(each))
    if not measures:
        return []
    steps = (f"{int(each['step']):,}" if "step" in each else "" for each in newest)
    cells: list[list[Any]] = [["step", *steps]]
    for name in measures:
        metric = metric_of(name)
        about = join([name, tag("small", metric.meaning if metric else "")])
        cells.append([about, *(number(each[name]) if name in each else "" for each in newest)])
    return [table(["measure", *names], cells, "The newest evaluation of each run")]


def _newest(contents: RunArtifacts) -> dict[str, float]:
    """The newest evaluation, with the numbers that evaluation.json adds."""
    logged: dict[str, float] = (evaluations(contents) or [{}])[-1]
    final = flat(contents.evaluation)
    return logged | final if final.get("step", -1) >= logged.get("step", -1) else logged
