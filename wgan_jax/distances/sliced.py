"""Sliced W1: the mean or maximum of W1 over projections to a line. Jittable.

sliced_w1 <= max_sliced_w1 <= exact W1 of the same points
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

from wgan_jax.distances.closed_form import w1_sorted
from wgan_jax.types import Array


def sliced_w1(x: Array, y: Array, key: Array, *, projections: int = 128) -> Array:
    """Mean W1 over random directions.

    Args:
      x: points [n, ...]; each is flattened.
      y: points [n, ...] of the same shape.
      key: a typed key.
      projections: random directions, static under jit.

    Returns:
      A scalar in the units of the points.

    Raises:
      ValueError: shapes differ, or `projections` below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> x = jax.random.normal(jax.random.key(0), (100, 2))
      >>> shifted = x + jnp.array([[3.0, 4.0]])
      >>> 2.5 < sliced_w1(x, shifted, jax.random.key(1)) < 3.9  # 5 * 2 / pi = 3.18
      Array(True, dtype=bool)

    References:
      Rabin, Peyré, Delon and Bernot, Wasserstein barycenter and its
      application to texture mixing, 2011.
    """
    x, y = _flat(x, y)
    directions = _directions(key, x.shape[1], projections)
    return _along(x, y, directions).mean()


# Without jit, its loop would be recompiled at every call.
@partial(jax.jit, static_argnames=("projections", "steps"))
def max_sliced_w1(
    x: Array, y: Array, key: Array, *, projections: int = 128, steps: int = 32
) -> Array:
    """Maximum W1 over directions, found by gradient ascent.

    Starts from the better of the best random direction and the direction between the
    means, and iterates theta <- g / |g| with g the gradient of the projected W1. The
    gradient of the result is that of W1 along the resulting direction, held fixed,
    which is exact at the maximum (envelope theorem).

    Args:
      x: points [n, ...]; each is flattened.
      y: points [n, ...] of the same shape.
      key: a typed key.
      projections: random directions to choose the start from, static under jit.
      steps: steps of the ascent, static under jit.

    Returns:
      A scalar in the units of the points. It never exceeds the exact W1.

    Raises:
      ValueError: shapes differ, or `projections` below 1.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> x = jax.random.normal(jax.random.key(0), (100, 2))
      >>> max_sliced_w1(x, x + jnp.array([[3.0, 4.0]]), jax.random.key(1)).round(3).item()
      5.0

    References:
      Deshpande et al., Max-sliced Wasserstein distance and its use for GANs, 2019.
    """
    x, y = _flat(x, y)
    direction_of_max = _largest_direction(*lax.stop_gradient((x, y)), key, projections, steps)
    return _along(x, y, direction_of_max)


def _largest_direction(x: Array, y: Array, key: Array, projections: int, steps: int) -> Array:
    directions = _directions(key, x.shape[1], projections)
    between = _unit(x.mean(0) - y.mean(0))
    candidates = jnp.concatenate([directions, between[:, None]], axis=1)
    start = candidates[:, _along(x, y, candidates).argmax()]

    def ascend(direction: Array, _: None) -> tuple[Array, tuple[Array, Array]]:
        value, slope = jax.value_and_grad(_along, argnums=2)(x, y, direction)
        return _unit(slope), (value, direction)

    last, (values, visited) = lax.scan(ascend, start, length=steps)
    values = jnp.append(values, _along(x, y, last))
    return jnp.concatenate([visited, last[None]])[values.argmax()]


def _along(x: Array, y: Array, directions: Array) -> Array:
    """W1 along directions [d] or [d, k], at full precision so that it never exceeds W1 itself."""
    on_line = partial(jnp.matmul, precision=lax.Precision.HIGHEST)
    return w1_sorted(on_line(x, directions), on_line(y, directions))


def _directions(key: Array, dim: int, projections: int) -> Array:
    if projections < 1:
        raise ValueError(f"projections must be at least 1, got {projections}")
    normal = jax.random.normal(key, (dim, projections))
    return normal / jnp.linalg.norm(normal, axis=0, keepdims=True)


def _unit(x: Array) -> Array:
    norm = jnp.sqrt((x**2).sum())
    first = jnp.zeros_like(x).at[0].set(1)
    return jnp.where(norm > 0, x / jnp.where(norm > 0, norm, 1), first)


def _flat(x: Array, y: Array) -> tuple[Array, Array]:
    if x.shape != y.shape or x.ndim < 1 or x.size == 0:
        raise ValueError(f"points must have one shape [n, ...], got {x.shape} and {y.shape}")
    return x.reshape(len(x), -1), y.reshape(len(y), -1)
