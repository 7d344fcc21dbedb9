"""The consistency term of CT-GAN."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp

from wgan_jax.penalties.base import check_not_negative
from wgan_jax.penalties.gradient import GradientPenalty
from wgan_jax.types import Array, PyTree, Scalar


@dataclasses.dataclass(frozen=True, kw_only=True)
class Consistency:
    """weight E max(0, (f'(x) - f''(x))^2 - margin), plus the gradient penalty of WGAN-GP.

    f' and f'' are the critic under two draws of its dropout, and x is real:
    two virtual neighbors of a data point, where WGAN-GP rarely looks, must
    have similar scores. The paper adds a tenth of the distance between the last
    hidden layers; here only the critic's scores are known, so that term is omitted.

    Raises:
      ValueError: a number is negative or, when called, the critic has no dropout.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> def critic(x, key):  # half of its scores are dropped, so half of the pairs differ by 1
      ...     keep = jax.random.bernoulli(key, shape=x.shape[:1])
      ...     return jnp.where(keep, x[:, 0], 0.0)
      >>> f = lambda x, key=jax.random.key(7): critic(x, key)
      >>> x = jnp.ones((4096, 2))
      >>> term = Consistency(weight=2.0, gradient_weight=0.0)
      >>> round(term(f, x, x, jax.random.key(0)).item(), 1)
      1.0

    References:
      Wei et al., Improving the Improved Training of Wasserstein GANs, 2018,
      equations 4 and 5.
    """

    title: ClassVar[str] = "CT-GAN"

    weight: float = 2.0
    """Weight of the consistency term (lambda 2 in the paper)."""
    margin: float = 0.0
    """Squared distance of scores that is not penalized (M' in the paper)."""
    gradient_weight: float = 10.0
    """Weight of the gradient penalty (lambda 1 in the paper); 0 for the consistency term
    alone."""

    def __post_init__(self) -> None:
        check_not_negative(
            weight=self.weight, margin=self.margin, gradient_weight=self.gradient_weight
        )

    def __call__(
        self, critic: Callable[..., Array], real: PyTree, fake: PyTree, key: Array
    ) -> Scalar:
        first, second, penalty_key = jax.random.split(key, 3)
        _check_random(critic, real, first)
        distance = jnp.square(critic(real, key=first) - critic(real, key=second))
        term = self.weight * jax.nn.relu(distance - self.margin).mean()
        return term + GradientPenalty(weight=self.gradient_weight)(critic, real, fake, penalty_key)


def _check_random(critic: Callable[..., Array], x: PyTree, key: Array) -> None:
    jaxpr = jax.make_jaxpr(lambda k: critic(x, key=k))(jax.eval_shape(lambda k: k, key)).jaxpr
    if not any(jaxpr.invars[0] is v for equation in jaxpr.eqns for v in equation.invars):
        raise ValueError(
            "Consistency compares a critic with itself under two draws of its dropout, and this "
            "one has none: set dropout=0.5, for example"
        )
