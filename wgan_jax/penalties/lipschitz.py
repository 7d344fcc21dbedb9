"""The Lipschitz penalty of WGAN-LP."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp

from wgan_jax.penalties.base import check_not_negative, gradient_norm, interpolate
from wgan_jax.types import Array, PyTree, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class LipschitzPenalty:
    """weight E max(0, |grad f(u)| - 1)^2, with u uniform between a real and a fake sample.

    The optimal critic of W1 has gradients of norm 1 only along transport rays;
    elsewhere they may be smaller, which this penalty allows.

    Raises:
      ValueError: the weight is negative.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> x, y = jnp.ones((4, 2)), jnp.zeros((4, 2))
      >>> LipschitzPenalty(weight=1.0)(lambda x: 3 * x[:, 0], x, y, jax.random.key(0)).item()
      4.0
      >>> LipschitzPenalty(weight=1.0)(lambda x: x[:, 0] / 2, x, y, jax.random.key(0)).item()
      0.0

    References:
      Petzka, Fischer and Lukovnikov, On the Regularization of Wasserstein
      GANs, 2018, equation 8.
    """

    title: ClassVar[str] = "WGAN-LP"

    weight: float = 10.0
    """Weight of the penalty (lambda in the paper); 1 works well in the plane."""

    def __post_init__(self) -> None:
        check_not_negative(weight=self.weight)

    def __call__(
        self, critic: Callable[..., Array], real: PyTree, fake: PyTree, key: Array
    ) -> Scalar:
        excess = jax.nn.relu(gradient_norm(critic, interpolate(key, real, fake)) - 1)
        return self.weight * jnp.square(excess).mean()
