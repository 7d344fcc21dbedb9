"""The part of a report that shows samples beside their nearest training images."""

from __future__ import annotations

from wgan_jax.experiment.evaluation import summary
from wgan_jax.experiment.report.contents import RunArtifacts, flat
from wgan_jax.experiment.report.markup import Markup, tag

_LEGEND = (
    "In frames: samples, each followed by the training images nearest to it. Left: the samples "
    "that are nearest of all. Right: samples at random."
)


def memorization(contents: RunArtifacts) -> list[Markup]:
    """The newest evaluation's verdict on copying, and its picture."""
    numbers = flat(contents.evaluation)
    reason = contents.evaluation.get("memorization")
    if "memorization/training" not in numbers:
        return []
    try:
        words = summary.memorization(numbers | {"memorization": reason})
    except (KeyError, ValueError, OverflowError):  # of a file that lacks some of them
        words = []
    parts = [tag("p", f"{line[:1].upper()}{line[1:]}.") for line in words]
    if contents.nearest is not None:
        alt = "Samples, each beside its nearest training images"
        picture = tag("img", src=contents.nearest, alt=alt, class_="pixels")
        when = f"Nearest training images after {numbers.get('step', 0):,.0f} iterations"
        parts.append(tag("figure", picture, tag("figcaption", when), class_="large"))
        parts.append(tag("p", _LEGEND, class_="note"))
    return parts
