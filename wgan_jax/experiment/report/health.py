"""Critic diagnostics in words: warnings, and checks that passed."""

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
_MARKS = {"yes": "well", "no": "off", "unclear": "still", "not now": "still"}
_MUCH = 0.5  # of W1
_STILL = "not measured: the extra steps changed nothing"


class Verdict(NamedTuple):
    """Answer of the newest evaluation to one question, with its history and CSS class."""

    question: str
    answer: str
    words: str
    before: str
    mark: str


def health(contents: RunArtifacts) -> list[Markup]:
    """The newest evaluation, question by question."""
    if type_name(contents.config.get("objective")) == "EvidenceBound":
        return [tag("p", "A VAE has no critic.")]
    checks = verdicts([x for x in evaluations(contents) if any("health/" in name for name in x)])
    if not checks and (contents.config.get("sweep") or contents.config.get("population")):
        return [tag("p", "Not measured in a sweep; train a single member to measure it.")]
    if not checks:
        advice = "Not measured yet: set --evaluate-every N, or wait for the end of the run."
        return [tag("p", advice)]
    items = [
        tag(
            "li",
            tag("h3", check.question, " ", tag("b", check.answer)),
            tag("p", check.words),
            tag("p", check.before, class_="note"),
            class_=check.mark,
        )
        for check in checks
    ]
    off = sum(check.answer == "no" for check in checks)
    summary = "No problems found." if off == 0 else f"{off} of {len(checks)} checks need attention."
    mark = _MARKS["no" if off else "yes"]
    parts = [tag("p", summary, class_=f"verdict {mark}"), tag("ul", *items, class_="health")]
    if contents.config.get("ema_decay"):
        words = "Measured against the generator's raw weights, which the critic trains against."
        parts.append(tag("p", words, class_="note"))
    return parts


def verdicts(evaluations: Lines) -> list[Verdict]:
    """The newest evaluation, question by question, with the number of warnings so far."""
    if not evaluations:
        return []
    warnings, last = [diagnose(line) for line in evaluations], evaluations[-1]
    answers = _share(evaluations)
    for topic, question in TOPICS.items():
        words, answer = warnings[-1].get(topic), "no"
        if words is None:
            words = _passed(topic, last)
            more = improvement_of(last)
            is_unclear = topic == "optimum" and more is not None and more.is_large
            answer = "not now" if words == _STILL else "unclear" if is_unclear else "yes"
        if words:
            sentence = f"{words[0].upper()}{words[1:]}."
            often = f"Flagged in {_often(topic, warnings)}."
            answers.append(Verdict(question, answer, sentence, often, _MARKS[answer]))
    return answers


def _share(evaluations: Lines) -> list[Verdict]:
    """The share of W1 that the critic shows the generator; never a warning, as bounds are loose."""
    shares = [line["w1/critic_share"] for line in evaluations if "w1/critic_share" in line]
    last = evaluations[-1]
    if not shares or not {"w1/critic_share", "w1/critic", "w1/value"} <= last.keys():
        return []
    words = (
        f"Its score on held-out data, divided by its Lipschitz bound, is {last['w1/critic']:.3g}, "
        f"while W1 is {last['w1/value']:.3g}. More training, or a critic with a tighter bound, "
        "would show the generator more of it."
    )
    before = f"{min(shares):.0%} to {max(shares):.0%} over {_evaluations(len(shares))}."
    mark = "well" if shares[-1] >= _MUCH else "still"
    return [Verdict("How much of W1 does it see?", f"{shares[-1]:.0%}", words, before, mark)]


def _often(topic: str, warnings: list[dict[str, str]]) -> str:
    count = sum(topic in messages for messages in warnings)
    return f"{count or 'none'} of {_evaluations(len(warnings))}"


def _evaluations(count: int) -> str:
    return f"{count} evaluation{'' if count == 1 else 's'}"


def _passed(topic: str, line: dict[str, Any]) -> str:
    """Why there is no warning, with the numbers behind that; empty if not measured."""
    more = improvement_of(line)
    if more is not None and more.error == 0 and topic in ("optimum", "direction"):
        return _STILL
    if topic == "optimum" and more is not None:
        return (
            f"100 extra steps change its estimate on {more.data} by {more.gain:+.0%}, "
            f"give or take {more.error:.0%}"
        )
    if topic == "direction" and "health/step_cosine" in line:
        return f"cosine {line['health/step_cosine']:.2f} between its step and gradient descent"
    if topic == "box" and "health/at_clip" in line:
        return f"{line['health/at_clip']:.0%} of its weights sit at the clip value"
    norms = [value for name, value in line.items() if name.startswith("health/gradient_norm/")]
    if topic == "layers" and norms and min(norms) > 0:
        return f"gradient norms of its layers differ by a factor of {max(norms) / min(norms):.3g}"
    return ""
