"""Kernel distance: squared MMD with the cubic kernel, unbiased, with its error bar.

k(a, b) = (a·b / d + 1)³,   MMD² = E k(x, x') + E k(y, y') - 2 E k(x, y)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.metrics.arrays import AnyArray, feature_pair, is_traced
from wgan_jax.types import Array


class KernelDistance(NamedTuple):
    """An estimate and how sure it is.

    Attributes:
      value: squared MMD; unbiased, so it may be slightly negative.
      error: its standard error.
    """

    value: Array
    error: Array


def kernel_distance(x: AnyArray, y: AnyArray, *, block_size: int = 1_000) -> KernelDistance:
    """The mean of unbiased estimates on disjoint blocks; "KID" on Inception features.

    Blocks do not overlap, so they are independent and their spread gives an
    error bar that holds. There are as many as fit at `block_size`, at least two, and samples
    are shared out evenly. Samples have to come in random order. Plain arrays
    are computed in float64 on the host; under a transformation, in their own precision.

    Args:
      x: features [n, d].
      y: features [m, d].
      block_size: samples of each set in a block; fewer where there are fewer than two blocks.

    Returns:
      A `KernelDistance`; unlike the Fréchet distance, it does not depend on n on average.

    Raises:
      ValueError: shapes that do not fit, fewer than four samples, a `block_size`
        below 2, integers, or values that are not finite.

    Example:
      >>> import numpy as np
      >>> x, y = np.random.default_rng(0).normal(size=(2, 500, 4))
      >>> same, moved = kernel_distance(x, y), kernel_distance(x, y + 1)
      >>> bool(abs(same.value) < 4 * same.error), bool(moved.value > 4 * moved.error)
      (True, True)

    References:
      Bińkowski, Sutherland, Arbel and Gretton, Demystifying MMD GANs, 2018, section 4;
      Gretton et al., A Kernel Two-Sample Test, 2012, equation 3.
    """
    x, y = feature_pair("kernel_distance", x, y, least=4)
    if block_size < 2:
        raise ValueError(f"block_size must be at least 2, got {block_size}")
    count = max(2, min(len(x), len(y)) // block_size)
    pairs = _blocks(x, count), _blocks(y, count)
    if is_traced(x, y):
        values = lax.map(lambda pair: _squared_mmd(jnp, *pair), pairs)
        return KernelDistance(values.mean(), values.std(ddof=1) / count**0.5)
    both = zip(*(np.asarray(blocks, np.float64) for blocks in pairs), strict=True)
    found = np.array([_squared_mmd(np, *pair) for pair in both])
    error = found.std(ddof=1) / count**0.5
    return KernelDistance(jnp.asarray(found.mean(), jnp.float32), jnp.asarray(error, jnp.float32))


def _blocks(x: AnyArray, count: int) -> AnyArray:
    size = len(x) // count
    return x[: count * size].reshape(count, size, -1)


def _squared_mmd(xp: Any, x: Any, y: Any) -> Any:
    def kernel(a: Any, b: Any) -> Any:
        inner = jnp.matmul(a, b.T, precision="highest") if xp is jnp else a @ b.T
        return (inner / a.shape[1] + 1) ** 3

    def among(z: Any) -> Any:
        k = kernel(z, z)
        return (k.sum() - xp.diagonal(k).sum()) / (len(z) * (len(z) - 1))

    return among(x) + among(y) - 2 * kernel(x, y).mean()
