"""Balls around samples that reach to the k-th nearest neighbour, in bounded memory.

Distances are taken between a block of rows and all columns at a time, never
for all pairs: 10,000 by 10,000 points need a few blocks of 16 MiB beside the features.
"""

from __future__ import annotations

from collections.abc import Callable

import jax.numpy as jnp
from jax import lax

from wgan_jax.metrics.arrays import AnyArray
from wgan_jax.types import Array

_PAIRS = 2**22
_FEW = 16


def centred(x: AnyArray, y: AnyArray) -> tuple[Array, Array]:
    """Both sets about their common centre, where |x|² - 2 x·y + |y|² rounds least."""
    x, y = jnp.asarray(x), jnp.asarray(y)
    centre = (x.mean(0, keepdims=True) + y.mean(0, keepdims=True)) / 2
    return x - centre, y - centre


def squared_radii(x: Array, k: int) -> Array:
    """Squared distance [n] of each point [n, d] to its k-th nearest other point."""
    columns = jnp.arange(len(x))[None, :]

    def radii(apart: Array, rows: Array) -> Array:
        return smallest(jnp.where(rows[:, None] == columns, jnp.inf, apart), k)

    return over_rows(radii, x, x)


def smallest(values: Array, k: int) -> Array:
    """The k-th smallest [rows] of values [rows, m], for small k.

    Repeated minima: on CPU `lax.top_k` takes twenty times as long.

    Example:
      >>> import jax.numpy as jnp
      >>> smallest(jnp.array([[3.0, 1.0, 1.0, 2.0]]), 3).item()
      2.0
    """
    least = values.min(1, keepdims=True)
    for _ in range(k - 1):
        reached = (values <= least).sum(1, keepdims=True) >= k
        following = jnp.where(values > least, values, jnp.inf).min(1, keepdims=True)
        least = jnp.where(reached, least, following)
    return least[:, 0]


def over_rows(reduce: Callable[[Array, Array], Array], x: Array, y: Array) -> Array:
    """`reduce` [n] of the squared distances between x [n, d] and y [m, d], by blocks of rows.

    It is given a block of distances [rows, m] and the numbers [rows] of its rows.
    """
    rows = max(1, min(len(x), _PAIRS // len(y)))
    count = -(-len(x) // rows)
    padded = jnp.pad(x, ((0, count * rows - len(x)), (0, 0)))
    numbers = jnp.arange(count * rows).reshape(count, rows)
    blocks = padded.reshape(count, rows, -1), numbers
    found = lax.map(lambda block: reduce(_squares(block[0], y), block[1]), blocks)
    return found.reshape(-1)[: len(x)]


def _squares(x: Array, y: Array) -> Array:
    """Squared distances; in few dimensions the differences are taken as they are."""
    if x.shape[1] <= _FEW:
        return ((x[:, None, :] - y[None, :, :]) ** 2).sum(2)
    inner = jnp.matmul(x, y.T, precision="highest")
    return jnp.maximum((x**2).sum(1)[:, None] - 2 * inner + (y**2).sum(1)[None, :], 0)


def require_neighbours(name: str, k: int, *counts: int) -> None:
    """Raises ValueError unless each set has a k-th nearest neighbour."""
    if not 1 <= k < min(counts):
        raise ValueError(
            f"{name} needs 1 <= k < the number of samples, got k={k} and "
            f"{' and '.join(map(str, counts))} samples"
        )
