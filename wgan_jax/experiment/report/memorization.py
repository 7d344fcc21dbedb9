"""Report section that shows samples next to their nearest training images."""

from __future__ import annotations

from wgan_jax.experiment.evaluation import summary
from wgan_jax.experiment.report.contents import RunArtifacts, flat
from wgan_jax.experiment.report.markup import Markup, tag

_LEGEND = (
    "Framed: samples, each followed by its nearest training images. Left: the samples nearest to "
    "the training data. Right: random samples."
)


def memorization(contents: RunArtifacts) -> list[Markup]:
    """The verdict of the newest evaluation on copying, and its picture."""
    numbers = flat(contents.evaluation)
    reason = contents.evaluation.get("memorization")
    if "memorization/training" not in numbers:
        return []
    try:
        lines = summary.memorization(numbers | {"memorization": reason})
    except (KeyError, ValueError, OverflowError):  # evaluation.json may lack some numbers
        lines = []
    parts = [tag("p", f"{line[:1].upper()}{line[1:]}.") for line in lines]
    if contents.nearest is not None:
        alt = "Samples, each next to its nearest training images"
        picture = tag("img", src=contents.nearest, alt=alt, class_="pixels")
        when = f"Nearest training images after {numbers.get('step', 0):,.0f} iterations"
        parts.append(tag("figure", picture, tag("figcaption", when), class_="large"))
        parts.append(tag("p", _LEGEND, class_="note"))
    return parts
