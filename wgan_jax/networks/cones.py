"""Minima of cones: critics that are 1-Lipschitz by construction.

    f(x) = min_j |x - a_j| + b_j

Each cone is 1-Lipschitz, so their minimum is. Every 1-Lipschitz f is such a
minimum, with a cone of height f(a) at each a of a dense set.
"""

from __future__ import annotations

import flax.linen as nn
import jax.numpy as jnp
from jax import lax

from wgan_jax.types import Array

_FEW = 8
_TINY = 1e-12


def cone_heights(x: Array, centers: Array, offsets: Array) -> Array:
    """|x_i - a_j| + b_j of points [n, d], centres a [k, d] and offsets b [k], as [n, k].

    Example:
      >>> import jax.numpy as jnp
      >>> cone_heights(jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]), jnp.ones(1)).item()
      6.0
    """
    if x.shape[1] <= _FEW:
        columns = zip(x.T, centers.T, strict=True)
        square = sum(((a[:, None] - b[None, :]) ** 2 for a, b in columns), jnp.zeros((), x.dtype))
    else:
        middle = lax.stop_gradient(centers.mean(0, keepdims=True))
        x, centers = x - middle, centers - middle
        square = (x**2).sum(1)[:, None] - 2 * x @ centers.T + (centers**2).sum(1)[None, :]
    return jnp.sqrt(jnp.maximum(square, _TINY)) + offsets[None, :]


def min_of_cones(x: Array, centers: Array, offsets: Array) -> Array:
    """f(x) = min_j |x - a_j| + b_j as [n]; the distance to the chosen centre is not expanded.

    Example:
      >>> import jax.numpy as jnp
      >>> min_of_cones(jnp.array([[0.0], [9.0]]), jnp.array([[1.0], [8.0]]), jnp.zeros(2))
      Array([1., 1.], dtype=float32)
    """
    chosen = cone_heights(x, lax.stop_gradient(centers), offsets).argmin(1)
    square = ((x - centers[chosen]) ** 2).sum(1)
    return jnp.sqrt(jnp.maximum(square, _TINY)) + offsets[chosen]


def soft_min_of_cones(x: Array, centers: Array, offsets: Array, temperature: Array) -> Array:
    """-t log sum_j exp(-(|x - a_j| + b_j) / t) as [n].

    The gradient is a convex combination of unit vectors, so this is
    1-Lipschitz too; it tends to the minimum as t falls.

    Example:
      >>> import jax.numpy as jnp
      >>> x, centers = jnp.zeros((1, 1)), jnp.ones((2, 1))
      >>> soft_min_of_cones(x, centers, jnp.zeros(2), 1.0).round(3).item() < 1  # 1 - log 2
      True
    """
    heights = cone_heights(x, centers, offsets)
    lowest = lax.stop_gradient(heights.min(1, keepdims=True))
    mass = jnp.exp((lowest - heights) / temperature).sum(1)
    return lowest[:, 0] - temperature * jnp.log(mass)


class Cones(nn.Module):
    """A minimum of cones with learned centres and offsets, as a critic.

    Maps [batch, ...] to scores [batch]; samples are flattened. It is exactly
    1-Lipschitz whatever its weights: nothing to clip, no penalty.

    Raises:
      ValueError: `count` below 1, or a negative temperature.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> critic = Cones(count=16)
      >>> variables = critic.init(jax.random.key(0), jnp.ones((8, 2)))
      >>> critic.apply(variables, jnp.ones((8, 2))).shape
      (8,)

    References:
      McShane, Extension of range of functions, 1934; minima of cones are the
      potentials of Korotin, Kolesov and Burnaev, Kantorovich Strikes Back!
      Wasserstein GANs are not Optimal Transport?, 2022.
    """

    count: int = 256
    """How many cones."""
    temperature: float = 0.0
    """Of the soft minimum, in units of distance; 0 is the minimum."""
    spread: float = 1.0
    """Standard deviation of the centres at the start, in units of the samples."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if self.count < 1 or self.temperature < 0:
            raise ValueError(
                "Cones needs count >= 1 and temperature >= 0, "
                f"got count={self.count} and temperature={self.temperature}"
            )
        x = x.reshape(x.shape[0], -1)
        spread = nn.initializers.normal(self.spread)
        centers = self.param("centers", spread, (self.count, x.shape[1]))
        offsets = self.param("offsets", nn.initializers.zeros_init(), (self.count,))
        if self.temperature:
            return soft_min_of_cones(x, centers, offsets, jnp.asarray(self.temperature, x.dtype))
        return min_of_cones(x, centers, offsets)
