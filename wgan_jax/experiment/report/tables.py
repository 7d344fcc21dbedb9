"""Tables of a report: evaluation, settings, machine."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np

from wgan_jax.data.remote import redacted
from wgan_jax.experiment.chunks import duration
from wgan_jax.experiment.evaluation.metrics import rows
from wgan_jax.experiment.evaluation.summary import members_columns, members_note
from wgan_jax.experiment.report.axis import number
from wgan_jax.experiment.report.contents import Lines, RunArtifacts, flat, is_number
from wgan_jax.experiment.report.markup import Markup, join, table, tag
from wgan_jax.experiment.report.names import type_name

_ROWS = 64
_ABOUT = ("type", "format", "wgan_jax")  # describe the file, not the run
_LEAVES = {"error": "standard error", "baseline": "real against real", "points": "samples"}


def evaluation(contents: RunArtifacts) -> list[Markup]:
    """One row per measure: value, error, real against real, samples."""
    result = flat(contents.evaluation)
    step = result.get("step")
    measured = rows(result)
    leaves = [leaf for leaf in _LEAVES if any(getattr(row, leaf) is not None for row in measured)]
    cells = [
        [
            join([row.name, tag("small", row.metric.meaning)]),
            *(
                "" if x is None else number(x)
                for x in (row.value, *(getattr(row, leaf) for leaf in leaves))
            ),
        ]
        for row in measured
    ]
    if not cells:
        return []
    when = f"After {step:,.0f} iterations" if step is not None else "At the newest checkpoint"
    if contents.evaluation.get("weights") == "averaged":
        when = f"{when}, with the averaged weights"
    return [table(["measure", "value", *(_LEAVES[leaf] for leaf in leaves)], cells, when)]


def members(contents: RunArtifacts) -> list[Markup]:
    """One row per member of a sweep."""
    lines = contents.members[:_ROWS]
    names = [name for name in members_columns(lines) if name != "step"]
    if not names:
        return []
    cells = [[_cell(row.get(name, "")) for name in names] for row in lines]
    more = (
        f", the first {_ROWS} of {len(contents.members)}" if len(contents.members) > _ROWS else ""
    )
    parts = [table(names, cells, f"The newest evaluation of each member{more}")]
    row = lines[0]
    if isinstance(row.get("points"), int) and {"weights", "data"} <= row.keys():
        parts.append(tag("p", members_note(row), class_="note"))
    return parts


def _cell(value: Any) -> str:
    return number(value) if is_number(value) else _value(value)


def settings(contents: RunArtifacts) -> list[Markup]:
    """One row per part of the config; plain values come last."""
    parts = {k: v for k, v in contents.config.items() if isinstance(v, dict)}
    plain = {k: v for k, v in contents.config.items() if k not in parts and k not in _ABOUT}
    rows = [
        [join([_plain(name), tag("small", type_name(part))]), _fields(part)]
        for name, part in parts.items()
    ]
    others = [
        tag("div", tag("dt", _plain(name)), tag("dd", _value(value)))
        for name, value in plain.items()
    ]
    again = f"python train.py --config {contents.name}/config.json --workdir AGAIN"
    return [
        table(["part", "settings"], rows, "Configuration of the run"),
        tag("dl", *others, class_="fields"),
        tag("p", "To repeat the run: ", tag("code", again)),
    ]


def _fields(part: dict[str, Any]) -> Markup:
    pairs = [(name, value) for name, value in part.items() if name != "type"]
    return tag(
        "span",
        *(
            tag("span", f"{_plain(name)} ", tag("b", _value(value)), class_="field")
            for name, value in pairs
        ),
    )


def _value(value: Any) -> str:
    if isinstance(value, list) and all(isinstance(v, int | float | str) for v in value):
        return ", ".join(map(str, value)) or "empty"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    return redacted(value if isinstance(value, str) else json.dumps(value))


def speed_and_machine(contents: RunArtifacts) -> list[Markup]:
    rows = [[_plain(name), _value(value)] for name, value in contents.machine.items()]
    median, seconds = speed(contents.lines), _seconds(contents.lines)
    if median is not None:
        rows = [["speed", f"{number(median, 3)} generator iterations per second, median"], *rows]
    if seconds is not None:
        rows.insert(1, ["time in training", duration(seconds)])
        if spent := sum(line.get("time/evaluation", 0) for line in contents.lines):
            share = f" ({spent / seconds:.0%} of the training time)" if seconds > 0 else ""
            rows.insert(2, ["time in evaluations", f"{duration(spent)}{share}, in addition to it"])
    return [table(["what", "value"], rows, "Where it ran")] if rows else []


def speed(lines: Lines) -> float | None:
    speeds = [line["time/steps_per_second"] for line in lines if "time/steps_per_second" in line]
    return float(np.median(speeds)) if speeds else None


def _seconds(lines: Lines) -> float | None:
    """Training time that the logged speeds add up to, without compilation."""
    spent = [
        (line["step"] - before["step"]) / line["time/steps_per_second"]
        for before, line in pairwise([{"step": 0}, *lines])
        if line.get("time/steps_per_second", 0) > 0
    ]
    return sum(spent) if spent else None


def _plain(name: str) -> str:
    return name.replace("_", " ")
