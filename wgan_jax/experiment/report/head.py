"""The top of a report: what was trained and how far, the few numbers, the samples."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from wgan_jax.experiment.report.axis import number
from wgan_jax.experiment.report.contents import RunArtifacts, evaluations, flat
from wgan_jax.experiment.report.markup import Markup, tag
from wgan_jax.experiment.report.names import method, subject, type_name
from wgan_jax.experiment.report.tables import speed


def title(contents: RunArtifacts) -> str:
    """What was trained."""
    return f"{method(contents.config)} on {subject(contents.config)}"


def overview(contents: RunArtifacts) -> Markup:
    done, steps = _progress(contents)
    said = f"{done:,} of {steps:,} generator iterations" if steps else f"{done:,} iterations"
    state = "done" if done >= steps else "not finished when this was written"
    several = contents.lines[-1].get("members", 0) if contents.lines else 0
    means = f" {several:,.0f} runs side by side: curves are means over them." if several else ""
    when = datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC")
    bar = tag("progress", value=done, max=max(steps, 1), aria_label=said)
    return tag(
        "header",
        tag("p", f"Run {contents.name}", class_="run"),
        tag("h1", title(contents)),
        bar,
        tag("p", f"{said}, {state}.{means} Written {when}."),
    )


def _progress(contents: RunArtifacts) -> tuple[int, int]:
    done = contents.lines[-1]["step"] if contents.lines else 0
    steps = contents.config.get("steps", 0)
    return done, steps if isinstance(steps, int) else 0


def figures(contents: RunArtifacts) -> Markup | None:
    """The few numbers that one looks for first."""
    known: dict[str, float] = flat(contents.evaluation)
    newest: dict[str, float] = {}
    for line in evaluations(contents):
        newest |= line
    if known.get("step", -1) == newest.get("step"):  # of the same samples, with more draws
        newest |= known
    found = []
    if "modes/found" in known and "modes/total" in known:
        modes = f"{known['modes/found']:,.0f} of {known['modes/total']:,.0f}"
        found.append(("modes found", modes))
    if {"w1/value", "w1/lower", "w1/upper"} <= newest.keys():
        lower, upper = (number(newest[f"w1/{name}"], 3) for name in ("lower", "upper"))
        words = _sized(", on {:,.0f} held-out data", newest, "w1/value/points")
        found.append((f"W1: {lower} to {upper} with 95%{words}", number(newest["w1/value"], 3)))
    if "w1/exact" in known:
        words = f"exact W1{_sized(' of {:,.0f} samples', known, 'points')}"
        found.append((f"{words}{_against(known, 'w1/floor')}", number(known["w1/exact"], 3)))
    elif "w1/minibatch" in newest:
        words = f"exact W1 of minibatches{_sized(' of {:,.0f}', newest, 'w1/minibatch/points')}"
        against = _against(newest, "w1/minibatch_floor")
        found.append((f"{words}{against}", number(newest["w1/minibatch"], 3)))
    if (median := speed(contents.lines)) is not None:
        found.append(("iterations a second", number(median, 3)))
    cells = [tag("div", tag("dd", value), tag("dt", name)) for name, value in found]
    return tag("dl", *cells, class_="figures") if cells else None


def _sized(words: str, found: dict[str, float], points: str) -> str:
    return words.format(found[points]) if points in found else ""


def _against(found: dict[str, float], floor: str) -> str:
    return f"; data against other data {number(found[floor], 3)}" if floor in found else ""


def samples(contents: RunArtifacts) -> list[Markup]:
    """The newest picture large, all of them as a strip to choose from."""
    if not contents.pictures:
        return []
    step, uri = contents.pictures[-1]
    said = f"Samples after {step:,} iterations"
    pixels = "pixels" if _is_images(contents.config) else None
    large = [_large(uri, said, pixels)]
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
    words = "All use the same latent noise. Click one to enlarge."
    if contents.config.get("ema_decay"):
        words = f"Samples of the averaged weights. {words}"
    return [
        tag("div", *large, class_="pair"),
        tag("p", words, class_="note"),
        tag("ol", *strip, class_="strip"),
    ]


def _large(uri: str, said: str, look: str | None) -> Markup:
    picture = tag("img", src=uri, alt=said, class_=look)
    return tag("figure", picture, tag("figcaption", said), class_="large")


def _is_images(config: dict[str, Any]) -> bool:
    return type_name(config.get("dataset")) not in ("Ring", "Grid", "SwissRoll")
