"""The hinge loss of spectrally normalized GANs."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax

from wgan_jax.types import Array, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hinge:
    """min over f of E max(0, 1 - f(x)) + E max(0, 1 + f(g(z))); the generator raises f(g(z)).

    The minimum is 2 - 2 TV, where TV is the total variation, between 0 and 1.
    `estimate` is the resulting lower bound on TV.

    Example:
      >>> import jax.numpy as jnp
      >>> real, fake = jnp.array([2.0, 0.5]), jnp.array([-2.0, 0.0])
      >>> Hinge().critic_loss(real, fake).item()
      0.75
      >>> Hinge().estimate(real, fake).item()
      0.625

    References:
      Lim and Ye, Geometric GAN, 2017; Miyato et al., Spectral Normalization
      for Generative Adversarial Networks, 2018, equations 16 and 17.
    """

    title: ClassVar[str] = "Hinge GAN"
    estimates: ClassVar[str] = "a lower bound of total variation, at most 1"

    def critic_loss(self, real: Array, fake: Array) -> Scalar:
        return jax.nn.relu(1 - real).mean() + jax.nn.relu(1 + fake).mean()

    def generator_loss(self, fake: Array) -> Scalar:
        return -fake.mean()

    def estimate(self, real: Array, fake: Array) -> Scalar:
        return 1 - self.critic_loss(real, fake) / 2
