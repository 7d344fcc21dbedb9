"""The critic's diagnostics in words: warnings, and what is well."""

from __future__ import annotations

from typing import Any, NamedTuple

from wgan_jax.experiment.evaluation.critic import diagnose, improvement_of
from wgan_jax.experiment.report.contents import Lines, RunArtifacts, evaluations
from wgan_jax.experiment.report.markup import Markup, tag
from wgan_jax.experiment.report.names import type_name

TOPICS = {
    "optimum": "Trained enough?",
    "direction": "Stepping downhill?",
    "box": "Room in the clip box?",
    "layers": "Gradient in every layer?",
}
_MARKS = {"yes": "well", "no": "off", "not now": "still"}
_MUCH = 0.5  # of W1
_STILL = "not measured: the extra steps changed nothing"


class Verdict(NamedTuple):
    """What one evaluation says about one question, what former ones said, and how to mark it."""

    question: str
    answer: str
    words: str
    before: str
    mark: str


def health(contents: RunArtifacts) -> list[Markup]:
    """Question by question, the newest evaluation."""
    if type_name(contents.config.get("objective")) == "EvidenceBound":
        return [tag("p", "A VAE has no critic.")]
    found = verdicts([x for x in evaluations(contents) if any("health/" in name for name in x)])
    if not found and (contents.config.get("sweep") or contents.config.get("population")):
        return [tag("p", "Not measured in a sweep: train one member alone for it.")]
    if not found:
        advice = "Nothing was measured yet; the end of the run and --evaluate-every N measure it."
        return [tag("p", advice)]
    items = [
        tag(
            "li",
            tag("h3", one.question, " ", tag("b", one.answer)),
            tag("p", one.words),
            tag("p", one.before, class_="note"),
            class_=one.mark,
        )
        for one in found
    ]
    off = sum(one.answer == "no" for one in found)
    summary = "Nothing is off now." if off == 0 else f"{off} of {len(found)} questions need a look."
    mark = _MARKS["no" if off else "yes"]
    parts = [tag("p", summary, class_=f"verdict {mark}"), tag("ul", *items, class_="health")]
    if contents.config.get("ema_decay"):
        words = "Measured against the generator's raw weights, which the critic trains with."
        parts.append(tag("p", words, class_="note"))
    return parts


def verdicts(evaluations: Lines) -> list[Verdict]:
    """The newest evaluation, question by question, and how often there was a warning."""
    if not evaluations:
        return []
    warned, last = [diagnose(found) for found in evaluations], evaluations[-1]
    answers = _share(evaluations)
    for topic, question in TOPICS.items():
        words, answer = warned[-1].get(topic), "no"
        if words is None:
            words = _well(topic, last)
            answer = "yes" if words != _STILL else "not now"
        if words:
            sentence = f"{words[0].upper()}{words[1:]}."
            often = f"Flagged in {_often(topic, warned)}."
            answers.append(Verdict(question, answer, sentence, often, _MARKS[answer]))
    return answers


def _share(evaluations: Lines) -> list[Verdict]:
    """How much of W1 the critic shows the generator: no warning, as a loose bound hides much."""
    shares = [found["w1/critic_share"] for found in evaluations if "w1/critic_share" in found]
    last = evaluations[-1]
    if not shares or not {"w1/critic_share", "w1/critic", "w1/value"} <= last.keys():
        return []
    words = (
        f"Its score on held-out data, divided by its Lipschitz bound, is {last['w1/critic']:.3g}, "
        f"where W1 is {last['w1/value']:.3g}. More training, or a critic with a tighter bound, "
        "shows the generator more of it."
    )
    before = f"{min(shares):.0%} to {max(shares):.0%} over {len(shares)} evaluations."
    mark = "well" if shares[-1] >= _MUCH else "still"
    return [Verdict("How much of W1 does it see?", f"{shares[-1]:.0%}", words, before, mark)]


def _often(topic: str, warned: list[dict[str, str]]) -> str:
    count = sum(topic in said for said in warned)
    return f"{count or 'none'} of {len(warned)} evaluations"


def _well(topic: str, found: dict[str, Any]) -> str:
    """Why there is no warning, with the number that says so; empty where it was not measured."""
    more = improvement_of(found)
    if more is not None and more.error == 0 and topic in ("optimum", "direction"):
        return _STILL
    if topic == "optimum" and more is not None:
        return (
            f"100 extra steps change its estimate on {more.data} by {more.gain:+.0%}, "
            f"give or take {more.error:.0%}"
        )
    if topic == "direction" and "health/step_cosine" in found:
        return f"cosine {found['health/step_cosine']:.2f} between its step and the gradient's"
    if topic == "box" and "health/at_clip" in found:
        return f"{found['health/at_clip']:.0%} of its weights sit at the clip value"
    norms = [value for name, value in found.items() if name.startswith("health/gradient_norm/")]
    if topic == "layers" and norms and min(norms) > 0:
        return f"gradient norms of its layers differ by a factor of {max(norms) / min(norms):.3g}"
    return ""
