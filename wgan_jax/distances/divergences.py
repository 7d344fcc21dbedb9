"""Divergences that the WGAN paper compares W1 with, for densities and histograms.

A histogram holds the mass of each cell and needs no `dx`. A density holds values
on a grid, and `dx` is the volume of a grid cell.
"""

from __future__ import annotations

import jax.numpy as jnp

from wgan_jax.types import Array


def kl(p: Array, q: Array, dx: float = 1.0) -> Array:
    """KL(p || q) = sum p log(p / q) dx, in nats; infinite where p has mass and q has none.

    Args:
      p: masses, or values of a density, [..., k]; each row has mass 1.
      q: likewise, of the same shape.
      dx: volume of a cell; 1 for histograms.

    Returns:
      One value per row, [...].

    Raises:
      ValueError: shapes differ.

    Example:
      >>> import jax.numpy as jnp
      >>> round(kl(jnp.array([1.0, 0.0]), jnp.array([0.5, 0.5])).item(), 4)
      0.6931

    References:
      Kullback and Leibler, On information and sufficiency, 1951.
    """
    _check(p, q)
    ratio = jnp.where(p > 0, p, 1) / jnp.where(p > 0, q, 1)
    return (p * jnp.log(ratio)).sum(-1) * dx


def js(p: Array, q: Array, dx: float = 1.0) -> Array:
    """JS(p, q) = KL(p || m) / 2 + KL(q || m) / 2 with m = (p + q) / 2, in nats.

    Between 0 and log 2. It is log 2 for any two distributions that do not overlap, however
    close they are, which is the reason to prefer W1.

    Args, returns and errors as for `kl`. (The WGAN paper omits the halves.)

    Example:
      >>> import jax.numpy as jnp
      >>> round(js(jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0])).item(), 4)
      0.6931

    References:
      Lin, Divergence measures based on the Shannon entropy, 1991.
    """
    _check(p, q)
    m = (p + q) / 2
    return (kl(p, m, dx) + kl(q, m, dx)) / 2


def total_variation(p: Array, q: Array, dx: float = 1.0) -> Array:
    """TV(p, q) = sum |p - q| dx / 2: the largest difference in probability, in [0, 1].

    Args, returns and errors as for `kl`.

    Example:
      >>> import jax.numpy as jnp
      >>> total_variation(jnp.array([0.5, 0.5]), jnp.array([1.0, 0.0])).item()
      0.5

    References:
      Arjovsky, Chintala and Bottou, Wasserstein GAN, 2017, section 2.
    """
    _check(p, q)
    return jnp.abs(p - q).sum(-1) / 2 * dx


def _check(p: Array, q: Array) -> None:
    if p.shape != q.shape or p.ndim < 1:
        raise ValueError(f"p and q must have one shape [..., k], got {p.shape} and {q.shape}")
