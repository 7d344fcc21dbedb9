"""Cheap sample metrics, for evaluations during training."""

from __future__ import annotations

import jax
import numpy as np

from wgan_jax.data.dataset import DatasetConfig
from wgan_jax.distances.sliced import sliced_w1
from wgan_jax.experiment.evaluation.transport import modes
from wgan_jax.types import Array

_POINTS = 2_000
_sliced = jax.jit(sliced_w1)


def cheap_sample_metrics(
    dataset: DatasetConfig, fake: np.ndarray, real: np.ndarray, key: Array
) -> dict[str, float]:
    """Return cheap metrics of generated and real points [n, d], both with rows in random order.

    - `w1/sliced`, `w1/sliced_floor`: sliced W1 between samples and data, and between two halves
      of the data, at the same size;
    - `w1/sliced/points`: that size;
    - `modes/found`, `modes/total`, `modes/high_quality`, `modes/points`: for mixtures.
    """
    half = min(_POINTS, len(real) // 2)
    first, second, fake_half = real[:half], real[half : 2 * half], fake[:half]
    on_fake, on_real = jax.random.split(key)
    return {
        "w1/sliced": float(_sliced(fake_half, first, on_fake)),
        "w1/sliced_floor": float(_sliced(second, first, on_real)),
        "w1/sliced/points": half,
        **modes(dataset, [fake]),
    }
