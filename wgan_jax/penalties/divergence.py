"""The penalty of WGAN-div, which needs no Lipschitz bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax

from wgan_jax.penalties.base import check_not_negative, interpolate, squared_gradient
from wgan_jax.types import Array, PyTree, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class DivergencePenalty:
    """weight E |grad f(u)|^power, where u is uniform between a real and a fake sample.

    With it the critic's maximum is the Wasserstein divergence, a symmetric
    divergence that is not W1.

    Raises:
      ValueError: the weight is negative, or the power is below 2 (not smooth).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> x, y = jnp.ones((4, 2)), jnp.zeros((4, 2))
      >>> DivergencePenalty(weight=2.0, power=6.0)(
      ...     lambda x: 2 * x[:, 0], x, y, jax.random.key(0)).item()
      128.0

    References:
      Wu et al., Wasserstein Divergence for GANs, 2018, equation 9; k = 2 and p = 6.
    """

    title: ClassVar[str] = "WGAN-div"

    weight: float = 2.0
    """Weight of the penalty (k in the paper)."""
    power: float = 6.0
    """Power of the gradient's norm (p in the paper)."""

    def __post_init__(self) -> None:
        check_not_negative(weight=self.weight)
        if not isinstance(self.power, jax.core.Tracer) and not self.power >= 2:
            raise ValueError(f"power must be at least 2, got {self.power}")

    def __call__(
        self, critic: Callable[..., Array], real: PyTree, fake: PyTree, key: Array
    ) -> Scalar:
        squared = squared_gradient(critic, interpolate(key, real, fake))
        return self.weight * (squared ** (self.power / 2)).mean()
