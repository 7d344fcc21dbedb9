"""GAN against WGAN with an MLP generator of four layers of 512, on Fashion-MNIST."""

from __future__ import annotations

from wgan_jax.reproduce.figure import Result, Settings
from wgan_jax.reproduce.grids import side_by_side


def run(settings: Settings) -> Result:
    return side_by_side("MLP", "MLP generator of four layers of 512", settings, gan_fails=True)
