"""The Kantorovich-Rubinstein dual of W1, the objective of the WGAN paper."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from wgan_jax.types import Array, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wasserstein:
    """max over f of E f(x) - E f(g(z)): the critic ascends it, the generator descends it.

    For critics with Lipschitz constant K the maximum is K times W1; for a clipped
    critic K is unknown, so `estimate` is W1 up to a factor.

    Example:
      >>> import jax.numpy as jnp
      >>> real, fake = jnp.array([3.0, 5.0]), jnp.array([1.0, 2.0])
      >>> Wasserstein().critic_loss(real, fake).item()
      -2.5
      >>> Wasserstein().estimate(real, fake).item()
      2.5

    References:
      Arjovsky, Chintala and Bottou, Wasserstein GAN, 2017, equation 2 and
      Algorithm 1.
    """

    title: ClassVar[str] = "WGAN"
    estimates: ClassVar[str] = (
        "W1 times the critic's Lipschitz constant; it falls as samples improve"
    )

    def critic_loss(self, real: Array, fake: Array) -> Scalar:
        return fake.mean() - real.mean()

    def generator_loss(self, fake: Array) -> Scalar:
        return -fake.mean()

    def estimate(self, real: Array, fake: Array) -> Scalar:
        return real.mean() - fake.mean()
