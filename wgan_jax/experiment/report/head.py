"""Top of a report: title and progress, key figures, samples."""

from __future__ import annotations

from datetime import UTC, datetime

from wgan_jax.experiment.evaluation.plateau import is_plateau
from wgan_jax.experiment.report.axis import number
from wgan_jax.experiment.report.contents import RunArtifacts, evaluations, flat
from wgan_jax.experiment.report.markup import Markup, tag
from wgan_jax.experiment.report.names import method, subject, type_name
from wgan_jax.experiment.report.tables import speed


def title(contents: RunArtifacts) -> str:
    """The method and the data set."""
    return f"{method(contents.config)} on {subject(contents.config)}"


def overview(contents: RunArtifacts) -> Markup:
    done, steps = _progress(contents)
    progress = f"{done:,} of {steps:,} generator iterations" if steps else f"{done:,} iterations"
    w1 = [line["w1/value"] for line in contents.lines if "w1/value" in line]
    state = "done" if done >= steps else "not finished"
    if contents.config.get("stop_when") == "plateau" and is_plateau(w1):
        state = "done: W1 has reached its plateau"
    several = contents.lines[-1].get("members", 0) if contents.lines else 0
    means = f" {several:,.0f} runs side by side: the curves show their means." if several else ""
    when = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
    bar = tag("progress", value=done, max=max(steps, 1), aria_label=progress)
    return tag(
        "header",
        tag("p", f"Run {contents.name}", class_="run"),
        tag("h1", title(contents)),
        bar,
        tag("p", f"{progress}, {state}.{means} Written {when}."),
    )


def _progress(contents: RunArtifacts) -> tuple[int, int]:
    done = contents.lines[-1]["step"] if contents.lines else 0
    steps = contents.config.get("steps", 0)
    return done, steps if isinstance(steps, int) else 0


def figures(contents: RunArtifacts) -> Markup | None:
    """The key figures of a run."""
    known: dict[str, float] = flat(contents.evaluation)
    newest: dict[str, float] = {}
    for line in evaluations(contents):
        newest |= line
    if known.get("step", -1) == newest.get("step"):  # same samples, more draws
        newest |= known
    rows = []
    if "modes/found" in known and "modes/total" in known:
        modes = f"{known['modes/found']:,.0f} of {known['modes/total']:,.0f}"
        rows.append(("modes found", modes))
    if {"w1/value", "w1/lower", "w1/upper"} <= newest.keys():
        lower, upper = (number(newest[f"w1/{name}"], 3) for name in ("lower", "upper"))
        words = _sized(", on {:,.0f} held-out examples", newest, "w1/value/points")
        words = f"W1: {lower} to {upper} with 95% confidence{words}"
        rows.append((words, number(newest["w1/value"], 3)))
    if "w1/exact" in known:
        words = f"exact W1{_sized(' of {:,.0f} samples', known, 'points')}"
        rows.append((f"{words}{_against(known, 'w1/floor')}", number(known["w1/exact"], 3)))
    elif "w1/minibatch" in newest:
        words = f"exact W1 of minibatches{_sized(' of {:,.0f}', newest, 'w1/minibatch/points')}"
        against = _against(newest, "w1/minibatch_floor")
        rows.append((f"{words}{against}", number(newest["w1/minibatch"], 3)))
    if (median := speed(contents.lines)) is not None:
        rows.append(("iterations per second", number(median, 3)))
    cells = [tag("div", tag("dd", value), tag("dt", name)) for name, value in rows]
    return tag("dl", *cells, class_="figures") if cells else None


def _sized(template: str, result: dict[str, float], points: str) -> str:
    return template.format(result[points]) if points in result else ""


def _against(result: dict[str, float], floor: str) -> str:
    return f"; data against other data {number(result[floor], 3)}" if floor in result else ""


def samples(contents: RunArtifacts) -> list[Markup]:
    """The newest picture in large, and a strip of all pictures to choose from."""
    if not contents.pictures:
        return []
    step, uri = contents.pictures[-1]
    caption = f"Samples after {step:,} iterations"
    is_plane = type_name(contents.config.get("dataset")) in ("Ring", "Grid", "SwissRoll")
    pixels = None if is_plane else "pixels"
    large = [_large(uri, caption, pixels)]
    if contents.data is not None:
        large.append(_large(contents.data, "The data", pixels))
    strip = [
        tag(
            "li",
            tag(
                "button",
                tag("img", src=uri, alt=f"Samples after {step:,} iterations"),
                tag("span", f"{step:,}"),
                type="button",
            ),
        )
        for step, uri in contents.pictures
    ]
    note = "All use the same latent noise. Click one to enlarge."
    if contents.config.get("ema_decay"):
        note = f"Samples of the averaged weights. {note}"
    return [
        tag("div", *large, class_="pair"),
        tag("p", note, class_="note"),
        tag("ol", *strip, class_="strip"),
    ]


def _large(uri: str, caption: str, css_class: str | None) -> Markup:
    picture = tag("img", src=uri, alt=caption, class_=css_class)
    return tag("figure", picture, tag("figcaption", caption), class_="large")
