"""GAN against WGAN with a DCGAN generator, on Fashion-MNIST."""

from __future__ import annotations

from wgan_jax.reproduce.figure import Result, Settings
from wgan_jax.reproduce.grids import side_by_side


def run(settings: Settings) -> Result:
    return side_by_side("DCGAN", "DCGAN generator", settings, gan_fails=False)
