"""Density and coverage: precision and recall that are robust to outliers."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.metrics.arrays import AnyArray, feature_pair, is_traced
from wgan_jax.metrics.neighbors import (
    comparable,
    host_inside,
    host_radii,
    over_rows,
    require_neighbors,
    squared_radii,
)
from wgan_jax.types import Array


class DensityCoverage(NamedTuple):
    """Density and coverage of samples.

    Attributes:
      density: mean number of real balls that contain a generated sample, over k; 1 for real
        against real, but it can exceed 1.
      coverage: fraction of real balls that contain a generated sample, in [0, 1].
    """

    density: Array
    coverage: Array


def density_coverage(real: AnyArray, fake: AnyArray, *, k: int = 5) -> DensityCoverage:
    """Density and coverage: counts of generated samples in the balls around real ones.

    A ball extends to the k-th nearest other real sample and is closed: a sample at exactly
    that distance is inside. The paper does not specify this, and its authors' code uses open
    balls. The two agree where no distances tie. Where they do, closed balls give a set against
    itself a coverage of 1 (open ones as little as 0), and a density above 1: n / k where all
    rows are equal. For such features, binary tables for instance, compare the density with
    that of real against real.

    Plain arrays are compared in float64 on the host; under `jit` or `vmap`, in their own
    precision. Memory does not grow with n · m.

    Args:
      real: features [n, d].
      fake: features [m, d].
      k: nearest neighbor, static under jit.

    Returns:
      A `DensityCoverage`. Real against real of equal size has an average density of 1 and an
      average coverage of about 1 - 2^-k.

    Raises:
      ValueError: shapes that do not fit, `k` not below the number of real samples,
        integers, or values that are not finite.

    Example:
      >>> import numpy as np
      >>> real = np.random.default_rng(0).normal(size=(200, 2))
      >>> scores = density_coverage(real, real[:20])
      >>> scores.coverage.item() < 0.6
      True

    References:
      Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models,
      2020, equations 4 and 5.
    """
    real, fake = feature_pair("density_coverage", real, fake, least=1)
    require_neighbors("density_coverage", k, len(real))
    counted = _density_coverage if is_traced(real, fake) else _host_density_coverage
    return counted(*comparable(real, fake), k)


def _host_density_coverage(real: np.ndarray, fake: np.ndarray, k: int) -> DensityCoverage:
    pairs, covered = 0, np.zeros(len(real), bool)
    for inside in host_inside(fake, real, host_radii(real, k)):
        pairs += int(inside.sum())
        covered |= inside.any(0)
    density, coverage = pairs / (k * len(fake)), covered.mean()
    return DensityCoverage(jnp.asarray(density, jnp.float32), jnp.asarray(coverage, jnp.float32))


@partial(jax.jit, static_argnums=2)
def _density_coverage(real: Array, fake: Array, k: int) -> DensityCoverage:
    radii = squared_radii(real, k)
    inside = over_rows(lambda squares, _: (squares <= radii[None, :]).sum(1), fake, real)
    nearest = over_rows(lambda squares, _: squares.min(1), real, fake)
    covered = (nearest <= radii).astype(jnp.float32)
    return DensityCoverage(inside.astype(jnp.float32).mean() / k, covered.mean())
