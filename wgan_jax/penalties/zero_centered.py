"""R1 and R2: penalties on gradients at the data and at the samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from wgan_jax.penalties.base import check_not_negative, squared_gradient
from wgan_jax.types import Array, PyTree, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class ZeroCentered:
    """real_weight / 2 E |grad f(x)|^2 + fake_weight / 2 E |grad f(g(z))|^2.

    The first term is known as R1, the second as R2. At equilibrium the critic is
    constant, which is where this penalty is minimal, unlike the two-sided penalty of
    WGAN-GP. With R1 alone training converges locally.

    Raises:
      ValueError: a weight is negative.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> x, y = jnp.ones((4, 2)), jnp.zeros((4, 2))
      >>> ZeroCentered(real_weight=1.0, fake_weight=0.5)(
      ...     lambda x: 2 * x[:, 0], x, y, jax.random.key(0)).item()
      3.0

    References:
      Mescheder, Geiger and Nowozin, Which Training Methods for GANs do actually Converge?,
      2018, equations 9 and 10.
    """

    real_weight: float = 1.0
    """Weight of the squared gradient at real samples (R1; gamma in the paper)."""
    fake_weight: float = 1.0
    """Weight of the squared gradient at generated samples (R2; gamma in the paper)."""

    def __post_init__(self) -> None:
        check_not_negative(real_weight=self.real_weight, fake_weight=self.fake_weight)

    def __call__(
        self, critic: Callable[..., Array], real: PyTree, fake: PyTree, key: Array
    ) -> Scalar:
        at_real = squared_gradient(critic, real).mean()
        at_fake = squared_gradient(critic, fake).mean()
        return self.real_weight / 2 * at_real + self.fake_weight / 2 * at_fake
