"""The gradient penalty of DRAGAN, only around the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp

from wgan_jax.penalties.base import check_not_negative, gradient_norm, is_float, safe_sqrt
from wgan_jax.types import Array, PyTree, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class DRAGAN:
    """weight E (|grad f(x + noise)| - 1)^2, where x is a real sample.

    The noise is normal; its standard deviation is `noise` times that of the batch,
    so that it follows the scale of the data.

    Raises:
      ValueError: the weight or noise is negative.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> x = jnp.ones((4, 2))
      >>> DRAGAN(weight=10.0)(lambda x: 3 * x[:, 0], x, x, jax.random.key(0)).item()
      40.0

    References:
      Kodali et al., On Convergence and Stability of GANs, 2017, equation 4.
    """

    title: ClassVar[str] = "WGAN with DRAGAN's penalty"

    weight: float = 10.0
    """Weight of the penalty (lambda in the paper)."""
    noise: float = 0.5
    """Standard deviation of the noise, relative to that of the batch."""

    def __post_init__(self) -> None:
        check_not_negative(weight=self.weight, noise=self.noise)

    def __call__(
        self, critic: Callable[..., Array], real: PyTree, fake: PyTree, key: Array
    ) -> Scalar:
        leaves, treedef = jax.tree.flatten(real)
        keys = jax.random.split(key, len(leaves))

        def perturb(key: Array, x: Array) -> Array:
            if not is_float(x):
                return x
            return x + self.noise * safe_sqrt(x.var()) * jax.random.normal(key, x.shape, x.dtype)

        around = jax.tree.unflatten(treedef, list(map(perturb, keys, leaves)))
        return self.weight * jnp.square(gradient_norm(critic, around) - 1).mean()
