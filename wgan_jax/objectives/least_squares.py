"""Least squares GAN: scores are trained toward 1 on data and 0 on samples."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

import jax.numpy as jnp

from wgan_jax.types import Array, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class LeastSquares:
    """min over f of E (f(x) - 1)^2 / 2 + E f(g(z))^2 / 2; the generator pulls f(g(z)) to 1.

    The minimum is (1 - LC) / 4, where LC is Le Cam's distance, half the
    integral of (p - q)^2 / (p + q), between 0 and 1. `estimate` is the
    resulting lower bound on LC.

    Example:
      >>> import jax.numpy as jnp
      >>> real, fake = jnp.array([1.0, 2.0]), jnp.array([0.0, 1.0])
      >>> LeastSquares().critic_loss(real, fake).item()
      0.5
      >>> LeastSquares().estimate(jnp.ones(2), jnp.zeros(2)).item()
      1.0

    References:
      Mao et al., Least Squares Generative Adversarial Networks, 2017, equation
      9 (targets 0, 1, 1).
    """

    title: ClassVar[str] = "Least-squares GAN"
    estimates: ClassVar[str] = "a lower bound of Le Cam's distance, at most 1"

    def critic_loss(self, real: Array, fake: Array) -> Scalar:
        return (jnp.square(real - 1).mean() + jnp.square(fake).mean()) / 2

    def generator_loss(self, fake: Array) -> Scalar:
        return jnp.square(fake - 1).mean() / 2

    def estimate(self, real: Array, fake: Array) -> Scalar:
        return 1 - 4 * self.critic_loss(real, fake)
