"""Density and coverage: precision and recall that outliers and overfitted balls do not fool."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from wgan_jax.metrics.arrays import AnyArray, feature_pair
from wgan_jax.metrics.neighbours import centred, over_rows, require_neighbours, squared_radii
from wgan_jax.types import Array


class DensityCoverage(NamedTuple):
    """How well samples fill the neighbourhoods of the data.

    Attributes:
      density: real balls that hold a generated sample, over k, on average; 1 for real
        against real, and not bounded by it.
      coverage: share of the real balls that hold a generated sample, in [0, 1].
    """

    density: Array
    coverage: Array


def density_coverage(real: AnyArray, fake: AnyArray, *, k: int = 5) -> DensityCoverage:
    """Counts of generated samples in the balls around real ones.

    A ball reaches to the k-th nearest other real sample. Jittable; memory does not
    grow with n · m.

    Args:
      real: features [n, d].
      fake: features [m, d].
      k: nearest neighbour, static under jit.

    Returns:
      A `DensityCoverage`. On average real against real of equal size gives density 1 and
      coverage of about 1 - 2^-k.

    Raises:
      ValueError: shapes that do not fit, `k` not below the number of real samples,
        integers, or values that are not finite.

    Example:
      >>> import numpy as np
      >>> real = np.random.default_rng(0).normal(size=(200, 2))
      >>> found = density_coverage(real, real[:20])
      >>> found.coverage.item() < 0.6
      True

    References:
      Naeem et al., Reliable Fidelity and Diversity Metrics for Generative Models,
      2020, equations 4 and 5.
    """
    real, fake = feature_pair("density_coverage", real, fake, least=1)
    require_neighbours("density_coverage", k, len(real))
    return _density_coverage(*centred(real, fake), k)


@partial(jax.jit, static_argnums=2)
def _density_coverage(real: Array, fake: Array, k: int) -> DensityCoverage:
    radii = squared_radii(real, k)
    inside = over_rows(lambda apart, _: (apart < radii[None, :]).sum(1), fake, real)
    nearest = over_rows(lambda apart, _: apart.min(1), real, fake)
    covered = (nearest < radii).astype(jnp.float32)
    return DensityCoverage(inside.astype(jnp.float32).mean() / k, covered.mean())
