"""Configs of GAN and WGAN on images, with the paper's generators."""

from __future__ import annotations

import dataclasses
from typing import Any

from wgan_jax.experiment.config import Clip, Config, Dataset
from wgan_jax.latents import Normal
from wgan_jax.networks import MLP, DCGANCritic, DCGANGenerator
from wgan_jax.objectives import JensenShannon
from wgan_jax.transforms.optimizers import Adam, RMSProp

METHODS = ("WGAN", "GAN")


def image_config(
    method: str,
    dataset: Dataset,
    *,
    generator: str,
    size: int,
    filters: int,
    steps: int,
    rate: float,
    critic: str = "DCGAN",
    width: int = 512,
) -> Config:
    """Return the config of `method` with one of the paper's generators.

    Args:
      method: WGAN (clipping, RMSProp, five critic steps) or GAN (the
        non-saturating loss, Adam with momentum, one discriminator step).
      generator: `DCGAN`, `constant` (no batch norm, the same number of filters in
        each layer) or `MLP` (four layers of `width`, 512 in the paper).
      size: image size in pixels.
      rate: learning rate of both players.
      critic: `DCGAN` or `MLP`.
    """
    shape = (size, size, 1)
    generators: dict[str, Any] = {
        "DCGAN": DCGANGenerator(image_size=size, channels=1, filters=filters),
        "constant": DCGANGenerator(
            image_size=size, channels=1, filters=filters, norm="none", constant_filters=True
        ),
        "MLP": MLP(features=(width,) * 4, output_shape=shape, output_activation="tanh"),
    }
    critics: dict[str, Any] = {
        "DCGAN": DCGANCritic(image_size=size, channels=1, filters=filters),
        "MLP": MLP(features=(width,) * 4),
    }
    config = Config(
        dataset=dataset,
        generator=generators[generator],
        critic=critics[critic],
        latent=Normal(dim=64),
        clip=Clip(c=0.01 if size > 8 else 0.05),
        generator_optimizer=RMSProp(learning_rate=rate),
        critic_optimizer=RMSProp(learning_rate=rate),
        batch_size=64,
        steps=steps,
    )
    if method == "WGAN":
        return config
    adam = Adam(learning_rate=rate, b1=0.5, b2=0.999)
    return dataclasses.replace(
        config,
        objective=JensenShannon(),
        clip=None,
        n_critic=1,
        generator_optimizer=adam,
        critic_optimizer=adam,
    )
