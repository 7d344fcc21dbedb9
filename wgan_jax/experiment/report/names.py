"""The field's names for what a config describes, and what the measures mean."""

from __future__ import annotations

import typing
from typing import Any

from wgan_jax.experiment.config import Objective

ESTIMATES: dict[str, str] = {one.__name__: one.estimates for one in typing.get_args(Objective)}
"""What the critic's estimate stands for, by the class of the objective."""

MEANINGS = {
    "w1/exact": "exact W1 between samples and data; data against data is what a second sample of "
    "the data scores, and a collapsed or shrunken generator can score below it",
    "w1/exact/draws": "draws that the mean of exact W1 is over",
    "w1/held_out": "the critic on held-out data, in its own units",
    "w1/training": "the critic on the data that it trains on, in its own units",
    "w1/lipschitz": "the critic's certified Lipschitz constant, at most",
    "w1/lower": "lower bound on W1 (95%): held-out score divided by the Lipschitz bound",
    "w1/minibatch": "exact W1 at the size of a minibatch",
    "w1/sliced": "sliced W1 between samples and data",
    "modes/found": "modes with a sample within three standard deviations",
    "modes/total": "modes of the data",
    "modes/high_quality": "share of samples within three standard deviations of a mode",
    "frechet": "Fréchet distance between features; lower is nearer",
    "kernel": "kernel distance between features; lower is nearer",
    "precision": "share of samples that look like data; higher is better",
    "recall": "share of the data that samples look like; higher is better",
    "density": "how densely data surround the samples; higher is better",
    "coverage": "share of the data that have a sample nearby; higher is better",
    "classifier": "classes found and told apart (as the Inception score); higher is better",
    "accuracy": "share of samples of the class that was asked for; higher is better",
}

_PENALTIES = {
    "GradientPenalty": "WGAN-GP",
    "LipschitzPenalty": "WGAN-LP",
    "DivergencePenalty": "WGAN-div",
    "Consistency": "CT-GAN",
    "DRAGAN": "WGAN with DRAGAN's penalty",
}
_OBJECTIVES = {
    "JensenShannon": "GAN",
    "LeastSquares": "Least-squares GAN",
    "Hinge": "Hinge GAN",
    "EvidenceBound": "VAE",
}
_DATASETS = {
    "Digits": "8 x 8 handwritten digits",
    "Ring": "a ring of Gaussians",
    "Grid": "a grid of Gaussians",
    "SwissRoll": "a swiss roll",
}


def method(config: dict[str, Any]) -> str:
    """The name of the method that a config, as JSON, describes."""
    objective, penalty = (_part(config, name) for name in ("objective", "penalty"))
    name = kind(objective)
    if name == "Wasserstein":
        if penalty:
            return _PENALTIES.get(kind(penalty), f"WGAN with {kind(penalty)}")
        clip, critic = _part(config, "clip"), kind(_part(config, "critic"))
        if clip:
            return f"WGAN, weights clipped to ±{clip.get('c')}"
        return f"WGAN with a {critic} critic"
    words = _OBJECTIVES.get(name, name or "A run")
    if name == "JensenShannon" and objective.get("generator"):
        words = f"{objective['generator']} GAN".replace("_", "-")
        words = f"{words[0].upper()}{words[1:]}"
    return f"{words} with {kind(penalty)}" if penalty else words


def subject(config: dict[str, Any]) -> str:
    """What it was trained on."""
    dataset = _part(config, "dataset")
    name = kind(dataset)
    if name == "Ring" and isinstance(dataset.get("modes"), int):
        return f"a ring of {dataset['modes']} Gaussians"
    if name in _DATASETS:
        return _DATASETS[name]
    return str(dataset.get("name", name or "its data"))


def kind(part: Any) -> str:
    """The class that a part of a config names."""
    return str(part.get("type", "")) if isinstance(part, dict) else ""


def meaning(name: str) -> str:
    """What a measure means, by its name or the first part of it."""
    return MEANINGS.get(name) or MEANINGS.get(name.partition("/")[0], "")


def _part(config: dict[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}
