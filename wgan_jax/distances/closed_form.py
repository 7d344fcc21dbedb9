"""Closed forms of W1: reference values for estimates."""

from __future__ import annotations

import math

import jax.numpy as jnp

from wgan_jax.types import Array


def w1_sorted(x: Array, y: Array) -> Array:
    """W1 between two equally large samples on the line: mean distance of the sorted values.

    Args:
      x: samples [n], or [n, ...] for one distance per remaining index.
      y: likewise, of the same shape.

    Returns:
      W1 in the units of the samples, a scalar or [...].

    Raises:
      ValueError: shapes differ.

    Example:
      >>> import jax.numpy as jnp
      >>> w1_sorted(jnp.array([0.0, 3.0]), jnp.array([4.0, 0.0])).item()
      0.5

    References:
      Villani, Topics in Optimal Transportation, 2003, theorem 2.18.
    """
    if x.shape != y.shape or x.ndim < 1:
        raise ValueError(f"samples must have one shape [n, ...], got {x.shape} and {y.shape}")
    return jnp.abs(jnp.sort(x, axis=0) - jnp.sort(y, axis=0)).mean(0)


def w1_on_grid(p: Array, q: Array, positions: Array, *, density: bool = False) -> Array:
    """W1 on the line from masses or densities: the area between the distribution functions.

    Args:
      p: masses at the positions, or values of a density there, [..., k].
      q: likewise, of the same shape.
      positions: ascending, [k].
      density: whether `p` and `q` are densities, integrated by the trapezoidal rule.

    Returns:
      W1 in the units of `positions`, [...].

    Raises:
      ValueError: shapes do not fit.

    Example:
      >>> import jax.numpy as jnp
      >>> w1_on_grid(jnp.array([1.0, 0, 0]), jnp.array([0, 0, 1.0]), jnp.array([0.0, 1, 5])).item()
      5.0

    References:
      As for `w1_sorted`.
    """
    if p.shape != q.shape or positions.shape != p.shape[-1:]:
        raise ValueError(
            "p and q must have one shape [..., k] and positions [k], "
            f"got {p.shape}, {q.shape} and {positions.shape}"
        )
    width, excess = jnp.diff(positions), p - q
    width = width.reshape((1,) * (p.ndim - 1) + width.shape)
    if not density:
        return (jnp.abs(jnp.cumsum(excess, -1)[..., :-1]) * width).sum(-1)
    steps = (excess[..., 1:] + excess[..., :-1]) / 2 * width
    ends = jnp.cumsum(steps, -1)
    return ((jnp.abs(ends) + jnp.abs(ends - steps)) / 2 * width).sum(-1)


def w1_translation(shift: Array) -> Array:
    """W1 between any distribution and itself moved by `shift` [...]: the length |shift|.

    The gradient at a shift of 0 is 0, the subgradient of least norm.

    Example:
      >>> import jax.numpy as jnp
      >>> w1_translation(jnp.array([3.0, 4.0])).item()
      5.0
    """
    square = (shift**2).sum()
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1)), 0)


def w1_gaussians(dim: int, std_p: float = 1.0, std_q: float = 1.0) -> float:
    """W1 between N(0, std_p² I) and N(0, std_q² I) in `dim` dimensions.

    |std_p - std_q| E|z| = |std_p - std_q| sqrt(2) Gamma((d + 1) / 2) / Gamma(d / 2):
    moving each point along its ray is optimal, with the potential |x|.

    Raises:
      ValueError: `dim` below 1, or a negative standard deviation.

    Example:
      >>> round(w1_gaussians(1, 1.0, 2.0), 4)  # sqrt(2 / pi)
      0.7979
    """
    if dim < 1 or min(std_p, std_q) < 0:
        raise ValueError(f"got dim={dim}, std_p={std_p} and std_q={std_q}")
    mean_norm = math.sqrt(2) * math.exp(math.lgamma((dim + 1) / 2) - math.lgamma(dim / 2))
    return abs(std_p - std_q) * mean_norm


def w1_spheres(radius_p: float, radius_q: float) -> float:
    """W1 between uniform distributions on two concentric spheres: the difference of the radii.

    Example:
      >>> w1_spheres(1.0, 2.5)
      1.5
    """
    return abs(radius_p - radius_q)
