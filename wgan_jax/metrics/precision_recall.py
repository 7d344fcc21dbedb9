"""Improved precision and recall: the fraction of each set on the manifold of the other."""

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


class PrecisionRecall(NamedTuple):
    """Precision and recall, in [0, 1].

    Attributes:
      precision: fraction of the generated samples that look real.
      recall: fraction of the real samples that the generator can produce.
    """

    precision: Array
    recall: Array


def precision_recall(real: AnyArray, fake: AnyArray, *, k: int = 3) -> PrecisionRecall:
    """The fraction of each set that lies in some ball of the other.

    A manifold is the union of closed balls around its samples, with the distance to the k-th
    nearest neighbor in the same set as radius. A sample at exactly that distance is inside,
    so features with ties (binary tables, repeated or constant rows) count in full, and any
    set against itself scores 1.

    Plain arrays are compared in float64 on the host; under `jit` or `vmap`, in their own
    precision, where coordinates closer than that tie. Memory does not grow with n · m.

    Args:
      real: features [n, d].
      fake: features [m, d]; use as many as there are real ones.
      k: nearest neighbor, static under jit.

    Returns:
      A `PrecisionRecall`. Real against real depends on k and n and is not 1: compare with it.

    Raises:
      ValueError: shapes that do not fit, `k` not below the number of samples,
        integers, or values that are not finite.

    Example:
      >>> import numpy as np
      >>> real = np.random.default_rng(0).normal(size=(200, 2))
      >>> scores = precision_recall(real, 0.1 * real[::-1])
      >>> scores.precision.item() > 0.95, scores.recall.item() < 0.1
      (True, True)

    References:
      Kynkäänniemi et al., Improved Precision and Recall Metric for Assessing
      Generative Models, 2019, equations 1 and 2.
    """
    real, fake = feature_pair("precision_recall", real, fake, least=2)
    require_neighbors("precision_recall", k, len(real), len(fake))
    covered = _covered if is_traced(real, fake) else _host_covered
    x, y = comparable(real, fake)
    return PrecisionRecall(covered(y, x, k), covered(x, y, k))


def _host_covered(points: np.ndarray, centers: np.ndarray, k: int) -> Array:
    """The fraction of points inside some ball around the centers."""
    blocks = host_inside(points, centers, host_radii(centers, k))
    inside = sum(int(block.any(1).sum()) for block in blocks)
    return jnp.asarray(inside / len(points), jnp.float32)


@partial(jax.jit, static_argnums=2)
def _covered(points: Array, centers: Array, k: int) -> Array:
    radii = squared_radii(centers, k)
    inside = over_rows(lambda squares, _: (squares <= radii[None, :]).any(1), points, centers)
    return inside.astype(jnp.float32).mean()
