"""Pairs of distributions with known W1 in any dimension: the funnels of Wasserstein1Benchmark.

With u(x) = min_j |x - a_j| + b_j and y uniform in a box, y is moved toward the center a_j of its
own funnel along the ray of steepest descent of u:

    x = a_j + t^8 ray,   t = |y - a_j| / |ray|

The ray goes from a_j through y to the point where another funnel takes over or the box ends. u is
then optimal for the pair, and W1 = E |y - x|.
"""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.types import Array

_HALF = 2.5
_POWER = 8
_TINY = 1e-9


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Funnels:
    """Source of a pair, a sampler `(key, n) -> x[n, d]`; `target` samples the other distribution.

    Attributes:
      centers: a, [k, d], inside the box [-2.5, 2.5]^d.
      offsets: b, [k].

    Example:
      >>> import jax
      >>> pair = Funnels.draw(dim=16, count=4, seed=0)
      >>> pair(jax.random.key(0), 5).shape, pair.target(jax.random.key(1), 5).shape
      ((5, 16), (5, 16))

    References:
      Korotin, Kolesov and Burnaev, Kantorovich Strikes Back! Wasserstein GANs
      are not Optimal Transport?, 2022.
    """

    centers: Array
    offsets: Array

    @classmethod
    def draw(cls, dim: int, count: int, seed: int = 0) -> Funnels:
        """Draw a random pair as in the benchmark.

        Raises:
          ValueError: `dim` or `count` below 1.
        """
        if dim < 1 or count < 1:
            raise ValueError(f"dim and count must be at least 1, got {dim} and {count}")
        r = np.random.default_rng([seed, dim, count])
        centers, offsets = r.uniform(-_HALF, _HALF, (count, dim)), 0.1 * r.normal(size=count)
        return cls(jnp.asarray(centers, jnp.float32), jnp.asarray(offsets, jnp.float32))

    def __call__(self, key: Array, n: int) -> Array:
        return self.transport(self.target(key, n))[0]

    def target(self, key: Array, n: int) -> Array:
        """Draw uniform samples [n, d] from the box."""
        return jax.random.uniform(key, (n, self.centers.shape[1]), minval=-_HALF, maxval=_HALF)

    def transport(self, y: Array) -> tuple[Array, Array]:
        """Move points y [n, d] to x [n, d]; return x and the distances |y - x| [n]."""
        a, b = self.centers, self.offsets
        square = (y**2).sum(1)[:, None] - 2 * y @ a.T + (a**2).sum(1)[None, :]
        own = (jnp.sqrt(jnp.maximum(square, 0)) + b[None, :]).argmin(1)
        center = a[own]
        length = jnp.linalg.norm(y - center, axis=1)
        unit = (y - center) / jnp.maximum(length, _TINY)[:, None]
        end = jnp.minimum(self._takeover(own, unit), self._exit(center, unit))
        t = jnp.minimum(length / end, 1)
        return center + (t**_POWER * end)[:, None] * unit, length - t**_POWER * end

    def _takeover(self, own: Array, unit: Array) -> Array:
        """Smallest s with |a_j + s e - a_k| + b_k = s + b_j: s = (|D|^2 - B^2) / 2(B - D.e)."""
        a, b = self.centers, self.offsets
        square = ((a[:, None] - a[None, :]) ** 2).sum(-1)[own]
        along = (a[own] * unit).sum(1)[:, None] - unit @ a.T
        excess = (b[:, None] - b[None, :])[own]
        slope = 2 * (excess - along)
        meets = (slope > _TINY) & (jnp.arange(len(b))[None, :] != own[:, None])
        length = (square - excess**2) / jnp.where(meets, slope, 1)
        return jnp.where(meets, length, jnp.inf).min(1)

    @staticmethod
    def _exit(center: Array, unit: Array) -> Array:
        wall = jnp.where(unit > 0, _HALF, -_HALF)
        moving = unit != 0
        return jnp.where(moving, (wall - center) / jnp.where(moving, unit, 1), jnp.inf).min(1)

    def w1(self, key: Array, n: int = 1_000_000) -> tuple[float, float]:
        """Estimate the true W1 by Monte Carlo over `n` points; return it and its standard error.

        Example:
          >>> import jax
          >>> w1, error = Funnels.draw(dim=2, count=4).w1(jax.random.key(0), n=100_000)
          >>> 0.7 < w1 < 1.1, error < 0.01
          (True, True)
        """
        chunk = min(n, 16384)
        cost = jax.jit(lambda pair, key: pair.transport(pair.target(key, chunk))[1])
        costs = np.concatenate([cost(self, k) for k in jax.random.split(key, -(-n // chunk))])
        return float(costs.mean(dtype=np.float64)), float(costs.std() / len(costs) ** 0.5)
