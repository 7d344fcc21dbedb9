"""The relativistic pairing loss."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar

import jax

from wgan_jax.types import Array, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class RelativisticPairing:
    """min over f of E softplus(f(g(z)) - f(x)); the generator minimizes E softplus(f(x) - f(g(z))).

    The critic judges each fake sample against one real sample, so that no mode can be
    dropped unnoticed. Only differences of scores matter. `estimate` is log 2 minus the
    critic's loss: 0 for a constant critic, at most log 2.

    Both losses pair sample i of one batch with sample i of the other. Together with
    `penalties.ZeroCentered` this is the loss of R3GAN.

    Example:
      >>> import jax.numpy as jnp
      >>> pairing = RelativisticPairing()
      >>> real, fake = jnp.array([5.0, 3.0]), jnp.array([5.0, 3.0])
      >>> round(pairing.critic_loss(real, fake).item(), 4)  # indistinguishable: log 2
      0.6931
      >>> round(pairing.generator_loss(fake - 10, real).item(), 4)
      10.0

    References:
      Jolicoeur-Martineau, The relativistic discriminator, 2018, section 4; Huang et al.,
      The GAN is dead; long live the GAN!, 2025, equation 2.
    """

    title: ClassVar[str] = "Relativistic GAN"
    estimates: ClassVar[str] = "a lower bound of the relativistic divergence, at most log 2"
    paired: ClassVar[bool] = True

    def critic_loss(self, real: Array, fake: Array) -> Scalar:
        return jax.nn.softplus(fake - real).mean()

    def generator_loss(self, fake: Array, real: Array) -> Scalar:
        return jax.nn.softplus(real - fake).mean()

    def estimate(self, real: Array, fake: Array) -> Scalar:
        return math.log(2) - self.critic_loss(real, fake)
