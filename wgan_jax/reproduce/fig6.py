"""GAN against WGAN on Fashion-MNIST; the generator has no batch norm and constant filters."""

from __future__ import annotations

from wgan_jax.reproduce.figure import Result, Settings
from wgan_jax.reproduce.grids import side_by_side


def run(settings: Settings) -> Result:
    return side_by_side(
        "constant",
        "DCGAN generator without batch norm and with constant filters",
        settings,
        gan_fails=True,
    )
