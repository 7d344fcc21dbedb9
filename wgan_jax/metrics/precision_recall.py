"""Improved precision and recall: how much of each set lies on the manifold of the other."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from wgan_jax.metrics.arrays import AnyArray, feature_pair
from wgan_jax.metrics.neighbours import centred, over_rows, require_neighbours, squared_radii
from wgan_jax.types import Array


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1].

    Attributes:
      precision: of the generated samples that look real.
      recall: of the real samples that the generator can make.
    """

    precision: Array
    recall: Array


def precision_recall(real: AnyArray, fake: AnyArray, *, k: int = 3) -> PrecisionRecall:
    """The share of each set that lies in some ball of the other.

    A manifold is the union of balls around its samples, each as far as the k-th
    nearest neighbour in the same set. Jittable; memory does not grow with n · m.

    Args:
      real: features [n, d].
      fake: features [m, d]; take as many as there are real ones.
      k: nearest neighbour, static under jit.

    Returns:
      A `PrecisionRecall`. Real against real is about what k and n give, not 1: look at both.

    Raises:
      ValueError: shapes that do not fit, `k` not below the number of samples,
        integers, or values that are not finite.

    Example:
      >>> import numpy as np
      >>> real = np.random.default_rng(0).normal(size=(200, 2))
      >>> found = precision_recall(real, 0.1 * real[::-1])
      >>> found.precision.item() > 0.95, found.recall.item() < 0.1
      (True, True)

    References:
      Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing
      Generative Models, 2019, equations 1 and 2.
    """
    real, fake = feature_pair("precision_recall", real, fake, least=2)
    require_neighbours("precision_recall", k, len(real), len(fake))
    return _precision_recall(*centred(real, fake), k)


@partial(jax.jit, static_argnums=2)
def _precision_recall(real: Array, fake: Array, k: int) -> PrecisionRecall:
    return PrecisionRecall(_covered(fake, real, k), _covered(real, fake, k))


def _covered(points: Array, centers: Array, k: int) -> Array:
    """The share of points inside some ball around the centres."""
    radii = squared_radii(centers, k)
    inside = over_rows(lambda apart, _: (apart < radii[None, :]).any(1), points, centers)
    return inside.astype(jnp.float32).mean()
