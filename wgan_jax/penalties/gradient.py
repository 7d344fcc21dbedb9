"""The gradient penalty of WGAN-GP."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp

from wgan_jax.penalties.base import check_not_negative, gradient_norm, interpolate
from wgan_jax.types import Array, PyTree, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class GradientPenalty:
    """weight E (|grad f(u)| - 1)^2, where u is uniform between a real and a fake sample.

    Raises:
      ValueError: the weight is negative, or the sides are unknown.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> critic = lambda x: 3 * x[:, 0]
      >>> x, y = jnp.ones((4, 2)), jnp.zeros((4, 2))
      >>> GradientPenalty(weight=10.0)(critic, x, y, jax.random.key(0)).item()
      40.0

    References:
      Gulrajani et al., Improved Training of Wasserstein GANs, 2017, equation 3.
    """

    title: ClassVar[str] = "WGAN-GP"

    weight: float = 10.0
    """Weight of the penalty (lambda in the paper)."""
    sides: Literal["two", "one"] = "two"
    """Sides to penalize: two pulls gradient norms to 1, one only keeps them from exceeding 1."""

    def __post_init__(self) -> None:
        check_not_negative(weight=self.weight)
        if self.sides not in ("two", "one"):
            raise ValueError(f"sides must be 'two' or 'one', got {self.sides!r}")

    def __call__(
        self, critic: Callable[..., Array], real: PyTree, fake: PyTree, key: Array
    ) -> Scalar:
        excess = gradient_norm(critic, interpolate(key, real, fake)) - 1
        if self.sides == "one":
            excess = jax.nn.relu(excess)
        return self.weight * jnp.square(excess).mean()
