"""Balls around samples with the distance to the k-th nearest neighbor as radius.

Distances are computed from differences of coordinates, never from |x|² - 2 x·y + |y|²: equal
points are at distance 0 and equal distances tie exactly, at any offset and on any device.
Memory is bounded: distances are taken between a block of rows and all columns at a time, so
10,000 by 10,000 points need a few blocks of at most 16 MiB in addition to the features.

Plain arrays are compared in float64 on the host, traced ones in their own precision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.metrics.arrays import AnyArray, is_traced
from wgan_jax.types import Array

_PAIRS, _HOST_PAIRS = 2**22, 2**19
_FEW = 16


def comparable(x: AnyArray, y: AnyArray) -> tuple[Any, Any]:
    """Scale both sets by the same power of two, exactly, so that no square overflows."""
    if not is_traced(x, y):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        exponent = np.frexp(max(np.abs(x).max(), np.abs(y).max()))[1]
        return np.ldexp(x, -exponent), np.ldexp(y, -exponent)
    exponent = jnp.frexp(jnp.maximum(jnp.abs(x).max(), jnp.abs(y).max()))[1]
    return jnp.ldexp(x, -exponent), jnp.ldexp(y, -exponent)


def require_neighbors(name: str, k: int, *counts: int) -> None:
    """Raise ValueError unless each set has a k-th nearest neighbor."""
    if not 1 <= k < min(counts):
        raise ValueError(
            f"{name} needs 1 <= k < the number of samples, got k={k} and "
            f"{' and '.join(map(str, counts))} samples"
        )


def host_radii(x: np.ndarray, k: int) -> np.ndarray:
    """Distance [n] of each point [n, d] to its k-th nearest other point, as given by `cdist`."""
    from scipy.spatial.distance import cdist

    radii = np.empty(len(x))
    for rows, squares, slack in _approximate(x, x):
        squares[np.arange(len(rows)), rows] = np.inf
        kth = np.partition(squares, k - 1, axis=1)[:, k - 1 : k]
        candidates = squares <= kth + 2 * slack  # the k nearest, within the error
        for i, near in zip(rows, candidates, strict=True):
            radii[i] = np.partition(cdist(x[i : i + 1], x[near])[0], k - 1)[k - 1]
    return radii


def host_inside(points: np.ndarray, centers: np.ndarray, radii: np.ndarray) -> Iterator[np.ndarray]:
    """Yield which points lie in which closed balls, a block [rows, m] at a time."""
    from scipy.spatial.distance import cdist

    for rows, excess, slack in _approximate(points, centers):
        excess -= radii**2
        inside, unsure = excess <= 0, abs(excess) <= slack
        # Distances are only computed where the matrix product is inconclusive.
        for i in np.flatnonzero(unsure.any(1)):
            near, point = unsure[i], points[rows[i], None]
            inside[i, near] = cdist(point, centers[near])[0] <= radii[near]
        yield inside


def _approximate(
    x: np.ndarray, y: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield blocks of rows, their squared distances to y by a matrix product, and an error bound.

    The bound [rows, 1] also covers the rounding of a square as large as the distance.
    """
    center = (x.mean(0) + y.mean(0)) / 2
    x, y, unit = x - center, y - center, np.finfo(np.float64).eps
    x_squares, y_squares = (x**2).sum(1), (y**2).sum(1)
    across = np.sqrt(x_squares) + np.sqrt(y_squares.max())
    slack = 8 * unit * across * ((x.shape[1] + 8) * across + 2 * np.linalg.norm(center))
    size = max(1, _HOST_PAIRS // len(y))
    for start in range(0, len(x), size):
        rows = np.arange(start, min(start + size, len(x)))
        squares = x[rows] @ y.T
        squares *= -2
        squares += x_squares[rows, None]
        squares += y_squares
        yield rows, squares, slack[rows, None]


def squared_radii(x: Array, k: int) -> Array:
    """Squared distance [n] of each point [n, d] to its k-th nearest other point."""
    columns = jnp.arange(len(x))[None, :]

    def radii(squares: Array, rows: Array) -> Array:
        return smallest(jnp.where(rows[:, None] == columns, jnp.inf, squares), k)

    return over_rows(radii, x, x)


def smallest(values: Array, k: int) -> Array:
    """The k-th smallest [rows] of values [rows, m], for small k.

    Uses repeated minima: on CPU `lax.top_k` takes twenty times as long.

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
    """Apply `reduce` to squared distances between x [n, d] and y [m, d], in blocks of rows.

    `reduce` maps a block of distances [rows, m] and its row indices [rows] to values [rows].
    """
    rows = max(1, min(len(x), _PAIRS // len(y)))
    count = -(-len(x) // rows)
    padded = jnp.pad(x, ((0, count * rows - len(x)), (0, 0)))
    numbers = jnp.arange(count * rows).reshape(count, rows)
    blocks = padded.reshape(count, rows, -1), numbers
    reduced = lax.map(lambda block: reduce(_squares(block[0], y), block[1]), blocks)
    return reduced.reshape(-1)[: len(x)]


def _squares(x: Array, y: Array) -> Array:
    """Squared distances [n, m], a few features at a time and always in the same order."""

    def add(total: Array, features: tuple[Array, ...]) -> tuple[Array, None]:
        for a, b in zip(*features, strict=True):
            total = total + (a[:, None] - b[None, :]) ** 2
        return total, None

    d = x.shape[1]
    few = min(d, _FEW)
    steps = -(-d // few)
    columns = tuple(
        jnp.pad(z.T, ((0, steps * few - d), (0, 0))).reshape(steps, few, len(z)) for z in (x, y)
    )
    return lax.scan(add, jnp.zeros((len(x), len(y)), x.dtype), columns)[0]
