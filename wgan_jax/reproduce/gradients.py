"""What reaches the generator: the norm of its gradient over training, GAN beside WGAN."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from wgan_jax.data.toy import Ring
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.pictures import running_median
from wgan_jax.reproduce.figure import Claim, Result, Settings, pyplot
from wgan_jax.reproduce.methods import toy_methods
from wgan_jax.reproduce.runs import train_seeds

METHODS = {"minimax GAN": "#d1495b", "GAN": "#e9c46a", "WGAN": "#2a9d8f", "WGAN-GP": "#264653"}
_NORM = "generator/gradient_norm"


def run(settings: Settings) -> Result:
    """All players take five critic steps, so that every critic is as good as it gets."""
    seeds = range(settings.seeds or settings.pick(2, 5))
    steps, snapshots = settings.pick(20, 2_000), 2
    configs = toy_methods(settings.pick(20, 10_000), Ring())
    found: dict[str, np.ndarray] = {}
    for name in METHODS:
        config = _short(configs[name], steps)
        tracks = train_seeds(config, seeds, snapshots=snapshots, samples=8)
        found[name] = np.stack([track.metrics[_NORM] for track in tracks])
    every = max(1, steps // 200)
    numbers = {
        "steps": np.arange(1, steps + 1, every).tolist(),
        "norms": {name: norms[:, ::every].tolist() for name, norms in found.items()},
        "smallest_median": {name: _smallest(norms).tolist() for name, norms in found.items()},
    }
    return Result(draw(found), numbers, claims(found))


def _short(config: Config, steps: int) -> Config:
    return dataclasses.replace(config, steps=steps, n_critic=5)


def _smallest(norms: np.ndarray) -> np.ndarray:
    """Of each seed, the lowest running median of the norm, over its median at the start."""
    smooth = np.stack([running_median(row) for row in norms])
    return smooth.min(1) / np.median(norms[:, : max(1, norms.shape[1] // 50)], axis=1)


def claims(found: dict[str, np.ndarray]) -> list[Claim]:
    low = {name: _smallest(norms) for name, norms in found.items()}
    return [
        Claim(
            "under the minimax GAN the generator's gradient vanishes: it falls below a hundredth "
            "of its first size",
            bool((low["minimax GAN"] < 0.01).all()),
            f"largest of the seeds' smallest medians {low['minimax GAN'].max():.2g}",
        ),
        Claim(
            "under WGAN it does not fall below a tenth",
            bool((low["WGAN"] > 0.1).all()),
            f"smallest of the seeds' smallest medians {low['WGAN'].min():.2g}",
        ),
    ]


def draw(found: dict[str, np.ndarray]) -> Any:
    plt = pyplot()
    figure, ax = plt.subplots(figsize=(8, 5), layout="constrained")
    for name, norms in found.items():
        smooth = np.stack([running_median(row) for row in norms])
        steps = np.arange(1, norms.shape[1] + 1)
        ax.plot(steps, np.median(smooth, axis=0), color=METHODS[name], label=name)
        ax.fill_between(steps, smooth.min(0), smooth.max(0), color=METHODS[name], alpha=0.2)
    ax.set(
        yscale="log",
        xlabel="generator iterations",
        ylabel="L2 norm of the generator's gradient",
        title=f"Ring of 8, {len(norms)} seeds (median and range of running medians)",
    )
    ax.grid(alpha=0.3)
    ax.legend()
    return figure
