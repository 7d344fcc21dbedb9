"""Figures 5 to 7: samples of WGAN and GAN with one critic, on Fashion-MNIST."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from wgan_jax.distances.exact import exact_w1
from wgan_jax.reproduce.figure import Claim, Result, Settings, Table, draw_samples, pyplot
from wgan_jax.reproduce.garment_grids import garment_grid
from wgan_jax.reproduce.garment_judge import fashion_mnist
from wgan_jax.reproduce.image_methods import METHODS, image_config
from wgan_jax.reproduce.runs import train

_POINTS, _SIDE = 1_000, 8


def side_by_side(generator: str, about: str, settings: Settings, *, gan_fails: bool) -> Result:
    """Train both methods with one generator; quality is exact W1 to test images.

    `gan_fails` says whether the paper's GAN fails with this generator. At size `real`, quality is
    measured on features, and GANs take as many generator iterations as WGAN.
    """
    if settings.size == "real":
        return garment_grid(generator, about, settings, gan_fails=gan_fails)
    dataset = fashion_mnist(settings)
    unseen = dataclasses.replace(dataset, split="test").open()
    points = settings.by_size(200, _POINTS)
    real, reference = (
        np.asarray(unseen.at(jax.random.key(1), i, points)).reshape(points, -1) for i in range(2)
    )
    numbers: dict[str, Any] = {"points": points, "w1_floor": exact_w1(real, reference)}
    samples = {}
    for method in METHODS:
        config = image_config(
            method,
            dataset,
            generator=generator,
            size=32,
            filters=settings.by_size(4, 16, 64),
            steps=settings.by_size(10, 2_000, 50_000) * (1 if method == "WGAN" else 2),
            rate=2e-4,
        )
        history = train(config, snapshots=settings.by_size(2, 4), samples=points)
        clouds = [x.reshape(len(x), -1) for x in history.samples[1:]]
        w1 = [exact_w1(x, real) for x in clouds]
        spread = float(clouds[-1].std(0).mean() / real.std(0).mean())
        numbers[method] = {"steps": history.steps[1:].tolist(), "w1": w1, "spread": spread}
        samples[method] = history.samples[-1][: _SIDE**2]
        print(f"{method}: {_evidence(w1[-1:], numbers)}", flush=True)
    return Result(
        draw(samples, numbers, about), numbers, claims(numbers, gan_fails), table(numbers)
    )


def table(numbers: dict[str, Any]) -> Table:
    w1 = f"exact W1 of {numbers['points']:,} samples to as many test images"
    head = ["method", "generator iterations", w1, "pixel standard deviation"]
    rows = [
        [
            name,
            f"{row['steps'][-1]:,}",
            f"{row['w1'][-1]:.2f}",
            f"{row['spread']:.0%} of the data's",
        ]
        for name, row in ((name, numbers[name]) for name in METHODS)
    ]
    return Table(head, [*rows, ["two sets of test images", "", f"{numbers['w1_floor']:.2f}", ""]])


def claims(numbers: dict[str, Any], gan_fails: bool) -> list[Claim]:
    wgan, gan = (numbers[method] for method in METHODS)
    bound = 1.5 * numbers["w1_floor"]
    evidence = _evidence([wgan["w1"][-1], gan["w1"][-1]], numbers)
    return [
        Claim(
            "with this generator WGAN is within 1.5 times the W1 between two sets of test images",
            wgan["w1"][-1] < bound,
            evidence,
        ),
        Claim(
            "the GAN is farther from the data than WGAN", gan["w1"][-1] > wgan["w1"][-1], evidence
        )
        if gan_fails
        else Claim("so is the GAN", gan["w1"][-1] < bound, evidence),
        Claim(
            "WGAN's samples vary as the data do: mean pixel standard deviation at least 80%",
            wgan["spread"] >= 0.8,
            f"WGAN {wgan['spread']:.0%}, GAN {gan['spread']:.0%}",
        ),
    ]


def _evidence(w1: list[float], numbers: dict[str, Any]) -> str:
    values = " and ".join(f"{value:.2f}" for value in w1)
    return (
        f"exact W1 of {numbers['points']:,} images {values}, between two sets of test images "
        f"{numbers['w1_floor']:.2f}, which is no proof of quality"
    )


def draw(samples: dict[str, np.ndarray], numbers: dict[str, Any], about: str) -> Any:
    plt = pyplot()
    figure, panels = plt.subplots(1, 2, figsize=(10, 5.6), layout="constrained")
    for ax, (method, images) in zip(panels, samples.items(), strict=True):
        record = numbers[method]
        draw_samples(ax, images[..., 0])
        ax.set_title(f"{method}: exact $W_1$ {record['w1'][-1]:.2f}")
        ax.set_xlabel(f"{record['steps'][-1]:,} generator iterations")
    subtitle = f"one critic; two sets of test images: {numbers['w1_floor']:.2f}"
    figure.suptitle(f"{about[0].upper()}{about[1:]}, {subtitle}")
    return figure
