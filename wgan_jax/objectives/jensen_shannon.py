"""The standard GAN, whose critic measures the Jensen-Shannon divergence."""

from __future__ import annotations

import dataclasses
import math
from typing import ClassVar, Literal

import jax

from wgan_jax.types import Array, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class JensenShannon:
    """max over D of L(D) = E log D(x) + E log(1 - D(g(z))), where D = sigmoid(score).

    For every D, L(D)/2 + log 2 is at most JS(data, generator), which lies
    between 0 and log 2; `estimate` is that bound. All logarithms are
    log-sigmoids of the score, finite even where D rounds to 0 or 1.

    Raises:
      ValueError: `generator` is unknown.

    Example:
      >>> import jax.numpy as jnp
      >>> real, fake = jnp.array([50.0, 60.0]), jnp.array([-50.0, -60.0])
      >>> round(JensenShannon().estimate(real, fake).item(), 4)  # separable: log 2
      0.6931
      >>> JensenShannon().estimate(0 * real, 0 * fake).item()
      0.0

    References:
      Goodfellow et al., Generative Adversarial Nets, 2014, equation 1 and
      section 3; the bound as in figure 4 of the WGAN paper.
    """

    generator: Literal["minimax", "non_saturating"] = "non_saturating"
    """Loss of the generator: minimax E log(1 - D), or non-saturating -E log D, whose gradient does
    not vanish."""

    title: ClassVar[str] = "GAN"
    estimates: ClassVar[str] = "a lower bound of JS, at most log 2"

    def __post_init__(self) -> None:
        if self.generator not in ("minimax", "non_saturating"):
            raise ValueError(
                f"generator must be 'minimax' or 'non_saturating', got {self.generator!r}"
            )

    def critic_loss(self, real: Array, fake: Array) -> Scalar:
        return -jax.nn.log_sigmoid(real).mean() - jax.nn.log_sigmoid(-fake).mean()

    def generator_loss(self, fake: Array) -> Scalar:
        if self.generator == "minimax":
            return jax.nn.log_sigmoid(-fake).mean()
        return -jax.nn.log_sigmoid(fake).mean()

    def estimate(self, real: Array, fake: Array) -> Scalar:
        return math.log(2) - self.critic_loss(real, fake) / 2
