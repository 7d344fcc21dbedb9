"""Minima of cones: critics that are 1-Lipschitz by construction.

    f(x) = min_j |x - a_j| + b_j

Each cone is 1-Lipschitz, hence so is their minimum. Every 1-Lipschitz f is such a
minimum, with a cone of height f(a) at each a of a dense set.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from wgan_jax.types import Array

_TINY = 1e-12
_COLUMNS = 16  # summed at once: blocks keep rounding errors small and loops short


def cone_heights(x: Array, centers: Array, offsets: Array) -> Array:
    """Return |x_i - a_j| + b_j as [n, k], for points [n, d], centers a [k, d], offsets b [k].

    Differences are taken before squaring, so that heights are accurate to a few parts in a
    million of the distance, also close to a center.

    Example:
      >>> import jax.numpy as jnp
      >>> cone_heights(jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]), jnp.ones(1)).item()
      6.0
    """
    return jnp.sqrt(jnp.maximum(_squares(x, centers), _TINY)) + offsets[None, :]


def _squares(x: Array, centers: Array) -> Array:
    dim = x.shape[1]
    if dim <= _COLUMNS // 2:
        return _sum_of_squares(x.T, centers.T)
    size = min(_COLUMNS, -(-dim // 2))
    blocks = [
        jnp.pad(z, ((0, 0), (0, -dim % size))).T.reshape(-1, size, len(z)) for z in (x, centers)
    ]

    @jax.checkpoint  # differences would fill memory with [n, k, d]
    def add(total: Array, columns: list[Array]) -> tuple[Array, None]:
        return total + _sum_of_squares(*columns), None

    return lax.scan(add, jnp.zeros((len(x), len(centers)), x.dtype), blocks)[0]


def _sum_of_squares(x: Array, centers: Array) -> Array:
    """Sum the squared differences of columns [d, n] and [d, k] to [n, k]."""
    columns = zip(x, centers, strict=True)
    return sum(((a[:, None] - b[None, :]) ** 2 for a, b in columns), jnp.zeros((), x.dtype))


def expanded_heights(x: Array, centers: Array, offsets: Array) -> Array:
    """Compute `cone_heights` by one matrix product in high dimensions, for fitting.

    Close to a center, a height is off by up to a thousandth of the distances to the other
    points, so the result is not 1-Lipschitz.

    Example:
      >>> import jax.numpy as jnp
      >>> expanded_heights(jnp.zeros((1, 2)), jnp.array([[3.0, 4.0]]), jnp.ones(1)).item()
      6.0
    """
    if x.shape[1] <= _COLUMNS // 2:
        return cone_heights(x, centers, offsets)
    middle = lax.stop_gradient(centers.mean(0, keepdims=True))
    x, centers = x - middle, centers - middle
    inner = jnp.matmul(x, centers.T, precision=lax.Precision.HIGHEST)
    square = (x**2).sum(1)[:, None] - 2 * inner + (centers**2).sum(1)[None, :]
    return jnp.sqrt(jnp.maximum(square, _TINY)) + offsets[None, :]


def min_of_cones(x: Array, centers: Array, offsets: Array) -> Array:
    """Return f(x) = min_j |x - a_j| + b_j as [n].

    Example:
      >>> import jax.numpy as jnp
      >>> min_of_cones(jnp.array([[0.0], [9.0]]), jnp.array([[1.0], [8.0]]), jnp.zeros(2))
      Array([1., 1.], dtype=float32)
    """
    return cone_heights(x, centers, offsets).min(1)


def soft_min(heights: Array, temperature: Array | float) -> Array:
    """Return -t log sum_j exp(-h_j / t) of heights [n, k], as [n].

    For heights of cones the gradient is a convex combination of unit vectors, so this is
    1-Lipschitz too; it converges to the minimum as t goes to 0.

    Example:
      >>> import jax.numpy as jnp
      >>> heights = cone_heights(jnp.zeros((1, 1)), jnp.ones((2, 1)), jnp.zeros(2))
      >>> round(soft_min(heights, 1.0).item(), 3)  # 1 - log 2
      0.307
    """
    lowest = lax.stop_gradient(heights.min(1, keepdims=True))
    mass = jnp.exp((lowest - heights) / temperature).sum(1)
    return lowest[:, 0] - temperature * jnp.log(mass)


class Cones(nn.Module):
    """Minus a minimum of cones with learned centers and offsets, as a critic.

    Maps [batch, ...] to scores [batch], -min_j |x - a_j| + b_j; samples are flattened. It is
    1-Lipschitz for any weights, up to a few units in the last place of its float32 distances,
    and needs neither clipping nor a penalty. Scores fall away from the centers, so that a
    generator that raises them cannot run away from the data.

    Raises:
      ValueError: `count` is below 1, or the temperature is negative.

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
    """Number of cones."""
    temperature: float = 0.0
    """Temperature of the soft minimum, in units of distance; 0 for the exact minimum."""
    spread: float = 1.0
    """Standard deviation of the initial centers, in units of the samples."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if self.count < 1 or self.temperature < 0:
            raise ValueError(
                "Cones needs count >= 1 and temperature >= 0, "
                f"got count={self.count} and temperature={self.temperature}"
            )
        # In half precision, rounding would cause arbitrary slopes.
        x = x.reshape(x.shape[0], -1).astype(jnp.promote_types(x.dtype, jnp.float32))
        spread = nn.initializers.normal(self.spread)
        centers = self.param("centers", spread, (self.count, x.shape[1]), jnp.float32)
        offsets = self.param("offsets", nn.initializers.zeros_init(), (self.count,), jnp.float32)
        if self.temperature:
            return -soft_min(cone_heights(x, centers, offsets), self.temperature)
        return -min_of_cones(x, centers, offsets)
