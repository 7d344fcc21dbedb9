"""Figures 5 to 7 at size `real`: WGAN and GAN after equally many generator iterations."""

from __future__ import annotations

from typing import Any

import numpy as np

from wgan_jax.reproduce.figure import (
    Claim,
    Result,
    Settings,
    Table,
    draw_samples,
    mean_std,
    pyplot,
)
from wgan_jax.reproduce.garments import GarmentRun, Garments

METHODS = {"WGAN": ("WGAN", 5), "GAN": ("GAN", 1), "GAN, five steps": ("GAN", 5)}
_LEARNED = 0.1  # of an untrained generator's Fréchet distance


def garment_grid(generator: str, about: str, settings: Settings, *, gan_fails: bool) -> Result:
    """Compare WGAN and GANs with one generator; the discriminator takes one step or five.

    `gan_fails` says whether the paper's GAN fails with this generator.
    """
    garments = Garments(settings)
    runs = {
        name: [
            garments(method, generator=generator, n_critic=n_critic, seed=seed)
            for seed in range(settings.seeds or 1)
        ]
        for name, (method, n_critic) in METHODS.items()
    }
    floor = garments.floor()
    return Result(
        draw(runs, about),
        {"floor": floor, "features": garments.about_features(), "runs": numbers(runs)},
        claims(runs, gan_fails),
        table(runs, floor),
        garments.earlier,
    )


def numbers(runs: dict[str, list[GarmentRun]]) -> dict[str, Any]:
    return {
        name: [
            {
                "steps": run.steps.tolist(),
                "frechet": run.frechet.tolist(),
                "frechet_untrained": run.untrained,
                "w1": run.w1[:, 0].tolist(),
                "w1_lower": run.w1[:, 1].tolist(),
                "w1_upper": run.w1[:, 2].tolist(),
                "spread": run.spread,
            }
            for run in group
        ]
        for name, group in runs.items()
    }


def claims(runs: dict[str, list[GarmentRun]], gan_fails: bool) -> list[Claim]:
    ends = {name: np.array([run.frechet[-1] for run in group]) for name, group in runs.items()}
    share = {
        name: max(run.frechet[-1] / run.untrained for run in group) for name, group in runs.items()
    }
    others = [name for name in METHODS if name != "WGAN"]
    distances = "; ".join(f"{name} {mean_std(ends[name])}" for name in METHODS)
    shares = "; ".join(f"{name} {share[name]:.1%}" for name in METHODS)
    spread = min(run.spread for run in runs["WGAN"])
    return [
        Claim(
            "WGAN learns with this generator: its Fréchet distance ends below "
            f"{_LEARNED:.0%} of the untrained generator's",
            share["WGAN"] < _LEARNED,
            f"at most: {shares}",
        ),
        Claim(
            "the GAN is farther from the data than WGAN after as many generator iterations, with "
            "one discriminator step and with five",
            all(ends[name].mean() > ends["WGAN"].mean() for name in others),
            f"Fréchet distance on LeNet features: {distances}",
        )
        if gan_fails
        else Claim(
            f"so does the GAN, with one discriminator step or with five: its Fréchet distance "
            f"ends below {_LEARNED:.0%}",
            min(share[name] for name in others) < _LEARNED,
            f"at most: {shares}",
        ),
        Claim(
            "WGAN's samples vary as the data do: mean pixel standard deviation at least 80%",
            spread >= 0.8,
            "; ".join(
                f"{name} {np.mean([run.spread for run in group]):.0%}"
                for name, group in runs.items()
            ),
        ),
    ]


def table(runs: dict[str, list[GarmentRun]], floor: float) -> Table:
    rows = []
    for name, group in runs.items():
        lower, upper = (np.mean([run.w1[-1, i] for run in group]) for i in (1, 2))
        rows.append(
            [
                name,
                f"{group[0].steps[-1]:,}",
                mean_std([run.frechet[-1] for run in group]),
                f"{mean_std([run.w1[-1, 0] for run in group])} ({lower:.2f} to {upper:.1f})",
                f"{np.mean([run.spread for run in group]):.0%} of the data's",
            ]
        )
    head = [
        "method",
        "generator iterations",
        "Fréchet distance on LeNet features",
        "W1 between images (with bounds)",
        "pixel standard deviation",
    ]
    return Table(head, [*rows, ["training images", "", f"{floor:.2f}", "", ""]])


def draw(runs: dict[str, list[GarmentRun]], about: str) -> Any:
    plt = pyplot()
    figure, panels = plt.subplots(1, len(runs), figsize=(15, 5.6), layout="constrained")
    for ax, (name, (first, *_)) in zip(panels, runs.items(), strict=True):
        draw_samples(ax, first.samples[..., 0])
        ax.set_title(f"{name}: Fréchet distance {first.frechet[-1]:.2f}")
        ax.set_xlabel(f"$W_1$ {first.w1[-1, 0]:.2f} (at least {first.w1[-1, 1]:.2f})")
    iterations = runs["WGAN"][0].steps[-1]
    figure.suptitle(f"{about[0].upper()}{about[1:]}, {iterations:,} generator iterations, seed 0")
    return figure
