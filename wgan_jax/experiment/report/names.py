"""Common names of the methods and data sets that a config describes."""

from __future__ import annotations

import typing
from pathlib import PurePath
from typing import Any

from wgan_jax.experiment.config import Objective, Penalty

ESTIMATES: dict[str, str] = {cls.__name__: cls.estimates for cls in typing.get_args(Objective)}
"""Meaning of the critic's estimate, by the class of the objective."""

_TITLES = {
    cls.__name__: cls.title
    for union in (Objective, Penalty)
    for cls in typing.get_args(union)
    if hasattr(cls, "title")
}
_DATASETS = {
    "Digits": "8 x 8 handwritten digits",
    "Ring": "a ring of Gaussians",
    "Grid": "a grid of Gaussians",
    "SwissRoll": "a swiss roll",
}


def method(config: dict[str, Any]) -> str:
    """The name of the method that a JSON config describes."""
    objective, penalty, clip = (_part(config, name) for name in ("objective", "penalty", "clip"))
    name = type_name(objective)
    title = _TITLES.get(name, name or "A run")
    if name == "JensenShannon" and objective.get("generator"):
        title = f"{objective['generator']} GAN".replace("_", "-")
        title = f"{title[0].upper()}{title[1:]}"
    if penalty:
        title = f"{title} with {type_name(penalty)}"
        if name == "Wasserstein":
            title = _TITLES.get(type_name(penalty), title)
    if clip:
        return f"{title}, weights clipped to ±{clip.get('c')}"
    if name == "Wasserstein" and not penalty:
        return f"{title} with {_unaided(_part(config, 'critic'))} critic"
    return title


def _unaided(critic: dict[str, Any]) -> str:
    """The kind of a critic without clipping and penalty, and whether it bounds its own slope."""
    match critic.get("spectral_norm"):
        case True:
            how = "a spectrally normalized"
        case False:
            how = "an unconstrained"
        case _:
            how = "a"
    return f"{how} {type_name(critic)}"


def subject(config: dict[str, Any]) -> str:
    """The name of the data set that a JSON config describes."""
    dataset = _part(config, "dataset")
    name = type_name(dataset)
    if name == "Ring" and isinstance(dataset.get("modes"), int):
        return f"a ring of {dataset['modes']} Gaussians"
    if name in _DATASETS:
        return _DATASETS[name]
    if path := dataset.get("path"):  # user data
        return PurePath(str(path)).name
    return str(dataset.get("name", name or "its data"))


def type_name(part: Any) -> str:
    """The class name of a part of a config."""
    return str(part.get("type", "")) if isinstance(part, dict) else ""


def _part(config: dict[str, Any], name: str) -> dict[str, Any]:
    part = config.get(name)
    return part if isinstance(part, dict) else {}
