"""Nearest neighbors in the training data, and tests for memorization."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.metrics.arrays import AnyArray, feature_pair
from wgan_jax.types import Array

_PAIRS, _VALUES, _FEW = 2**22, 2**24, 16


class Neighbors(NamedTuple):
    """Nearest neighbors, nearest first.

    Attributes:
      distances: Euclidean distances, [n, k].
      indices: rows of the searched set, int32 [n, k].
    """

    distances: Array
    indices: Array


def nearest_neighbors(x: AnyArray, y: AnyArray, *, k: int = 1) -> Neighbors:
    """Find the k nearest rows of y for each row of x, in float32 and bounded memory.

    The search is exhaustive, by matrix products in full precision (in up to 16 dimensions by
    differences). Distances to the resulting neighbors are computed from differences of
    coordinates, so a copy is at distance 0.

    Args:
      x: features [n, d].
      y: features [m, d].
      k: number of neighbors, static under jit.

    Returns:
      `Neighbors`.

    Raises:
      ValueError: shapes that do not match, `k` not in 1 to m, integers, or values that are
        not finite.

    Example:
      >>> import jax.numpy as jnp
      >>> found = nearest_neighbors(jnp.array([[1.0]]), jnp.array([[5.0], [3.0], [1.5]]), k=2)
      >>> found.distances.tolist(), found.indices.tolist()
      ([[0.5, 2.0]], [[2, 1]])
    """
    x, y = feature_pair("nearest_neighbors", x, y, least=1)
    if not 1 <= k <= len(y):
        raise ValueError(f"nearest_neighbors needs 1 <= k <= {len(y)} rows of y, got k={k}")
    return _nearest(jnp.asarray(x, jnp.float32), jnp.asarray(y, jnp.float32), k)


@partial(jax.jit, static_argnums=2)
def _nearest(x: Array, y: Array, k: int) -> Neighbors:
    center = y.mean(0, keepdims=True)
    x, y = x - center, y - center
    exponent = jnp.frexp(jnp.maximum(jnp.abs(x).max(), jnp.abs(y).max()))[1]
    x, y = jnp.ldexp(x, -exponent), jnp.ldexp(y, -exponent)  # no square overflows
    lengths = jnp.square(y).sum(1)[None, :]
    d, columns = x.shape[1], jnp.arange(len(y), dtype=jnp.int32)[None, :]

    def of_rows(rows: Array) -> tuple[Array, Array]:
        if d <= _FEW:
            parts = (jnp.square(a[:, None] - b[None, :]) for a, b in zip(rows.T, y.T, strict=True))
            squares = sum(parts, jnp.zeros((len(rows), len(y)), jnp.float32))
        else:  # without |x|^2, which does not affect the order
            squares = lengths - 2 * jnp.matmul(rows, y.T, precision="highest")
        found = []
        for _ in range(k):  # on CPU, two minima take a third of the time of one argmin
            is_least = squares <= squares.min(1, keepdims=True)
            found.append(jnp.where(is_least, columns, len(y) - 1).min(1))
            squares = jnp.where(columns == found[-1][:, None], jnp.inf, squares)
        index = jnp.stack(found, 1)
        exact = jnp.sqrt(jnp.square(rows[:, None] - y[index]).sum(-1))
        order = exact.argsort(1)
        return jnp.take_along_axis(exact, order, 1), jnp.take_along_axis(index, order, 1)

    count = -(-len(x) // max(1, min(_PAIRS // len(y), _VALUES // (k * d))))
    block = -(-len(x) // count)
    padded = jnp.pad(x, ((0, count * block - len(x)), (0, 0))).reshape(count, block, d)
    distances, indices = (z.reshape(-1, k)[: len(x)] for z in lax.map(of_rows, padded))
    return Neighbors(jnp.ldexp(distances, exponent), indices)


class DataCopying(NamedTuple):
    """Distances of samples to the training data, compared with those of held-out data.

    Attributes:
      nearer: fraction of the pairs of a sample and a held-out example in which the sample is
        closer to its nearest training example; ties count half. 0.5 if nothing is copied.
      error: standard error of `nearer` if nothing is copied.
      z: (0.5 - nearer) / error, which is standard normal if nothing is copied; far below 0
        indicates copying, far above 0 samples unlike the data.
      near: fraction of samples with a distance below a quantile of the held-out distances.
      expected: mean of `near` if nothing is copied.
      p_value: probability of at least this `near` if nothing is copied.
      threshold: the quantile; samples at smaller distances count as near.
    """

    nearer: float
    error: float
    z: float
    near: float
    expected: float
    p_value: float
    threshold: float


def data_copying(samples: AnyArray, held_out: AnyArray, *, quantile: float = 0.01) -> DataCopying:
    """Test whether samples are closer to the training data than held-out data are.

    If samples follow the distribution of the data and do not otherwise depend on the training
    data, both sets of distances have the same distribution for any training data, and their
    ranks have a known one. `z` is the tie-corrected Mann-Whitney statistic; it detects a
    generator that mostly copies. `p_value` is exact and detects occasional copies: the number of
    samples below the k-th smallest held-out distance is beta-binomial.

    Args:
      samples: distance of each sample to its nearest training example, [n].
      held_out: the same for held-out examples, [m].
      quantile: quantile of the held-out distances below which samples count as near.

    Returns:
      A `DataCopying`.

    Raises:
      ValueError: not arrays [n] and [m], an empty array, values that are not finite, or a
        quantile outside (0, 1).

    Example:
      >>> import numpy as np
      >>> distances = np.random.default_rng(0).uniform(1, 2, size=(2, 1_000))
      >>> found = data_copying(*distances)
      >>> abs(found.z) < 3, found.p_value > 0.01
      (True, True)
      >>> distances[0, :50] = 0  # copies
      >>> found = data_copying(*distances)
      >>> found.near > 0.05, found.p_value < 1e-6
      (True, True)

    References:
      Meehan, Chaudhuri and Dasgupta, A Non-Parametric Test to Detect Data-Copying in Generative
      Models, 2020, section 3: the test of all samples, without cells.
      Mann and Whitney, On a Test of Whether one of Two Random Variables is Stochastically Larger
      than the Other, 1947.
    """
    from scipy.stats import hypergeom

    x, y = np.asarray(samples, np.float64), np.asarray(held_out, np.float64)
    if x.ndim != 1 or y.ndim != 1 or not len(x) or not len(y):
        raise ValueError(f"data_copying takes distances [n] and [m], got {x.shape} and {y.shape}")
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise ValueError("data_copying got distances that are not finite")
    if not 0 < quantile < 1:
        raise ValueError(f"quantile must be between 0 and 1, got {quantile}")
    (n, m), ordered = (len(x), len(y)), np.sort(y)
    ranks = [np.searchsorted(ordered, x, side).mean() / m for side in ("left", "right")]
    nearer = 1 - sum(ranks) / 2
    tied = np.unique(np.concatenate([x, y]), return_counts=True)[1].astype(np.float64)
    correction = (tied**3 - tied).sum() / ((n + m) * (n + m - 1))
    error = float(np.sqrt(max(n + m + 1 - correction, 0) / (12 * n * m)))
    k = max(1, int(quantile * m))
    threshold = float(ordered[k - 1])
    count = int((x < threshold).sum())
    # At least `count` samples are below if the count + k - 1 smallest hold fewer than k held-out.
    p_value = float(hypergeom.cdf(k - 1, n + m, m, count + k - 1)) if count else 1.0
    z = (0.5 - nearer) / error if error > 0 else 0.0
    return DataCopying(float(nearer), error, float(z), count / n, k / (m + 1), p_value, threshold)


class Membership(NamedTuple):
    """The fraction of samples whose nearest example is held out rather than trained on.

    Attributes:
      held_out: fraction of samples whose nearest example, among both kinds, is held out.
      expected: its mean if the generator depends on both kinds equally.
      z: (held_out - expected) over its standard deviation; far below 0 indicates copying.
    """

    held_out: float
    expected: float
    z: float


def nearest_membership(
    training: Neighbors, held_out: Neighbors, sizes: tuple[int, int]
) -> Membership:
    """Test whether samples are nearest to training data more often than by chance.

    If the data were split at random and the generator does not copy, every sample is equally
    likely to have a training example as its nearest one, whatever the quality or sharpness of
    the samples. Mean and variance are those over all splits: of drawing examples without
    replacement, weighted by how often each one is the nearest.

    Args:
      training: nearest training examples of each sample, [n, k]; only the first is used.
      held_out: nearest held-out examples of each sample, [n, k].
      sizes: numbers of training and held-out examples, all of which were searched.

    Returns:
      A `Membership`. Without samples its fraction is the expected one.

    Raises:
      ValueError: different numbers of neighbors of the two kinds, or a size below 1.

    Example:
      >>> import numpy as np
      >>> x = np.random.default_rng(0).normal(size=(1_200, 2)).astype(np.float32)
      >>> training, held_out, samples = np.split(x, [500, 1_000])
      >>> found = (nearest_neighbors(samples, data) for data in (training, held_out))
      >>> abs(nearest_membership(*found, (500, 500)).z) < 3
      True
      >>> copies = (nearest_neighbors(training, data) for data in (training, held_out))
      >>> nearest_membership(*copies, (500, 500)).z < -10
      True
    """
    distances, indices = (
        [np.asarray(side)[:, 0] for side in sides]
        for sides in zip(training[:2], held_out[:2], strict=True)
    )
    n, (m_training, m_held_out) = len(distances[0]), sizes
    if len(distances[1]) != n or min(sizes) < 1:
        raise ValueError(
            f"nearest_membership takes neighbors of the same samples and sizes of at least 1, got "
            f"{n} and {len(distances[1])} samples, sizes {sizes}"
        )
    total = m_training + m_held_out
    expected = m_held_out / total
    if n == 0:
        return Membership(expected, expected, 0.0)
    is_held_out = distances[1] < distances[0]
    nearest = np.where(is_held_out, m_training + indices[1].astype(np.int64), indices[0])
    counts = np.unique(nearest, return_counts=True)[1].astype(np.float64)
    variance = (np.square(counts).sum() - n**2 / total) / max(total - 1, 1)
    deviation = float(np.sqrt(max(m_training * expected * variance, 0))) / n
    share = float(is_held_out.mean())
    return Membership(share, expected, (share - expected) / deviation if deviation > 0 else 0.0)
