"""Cheap measures of samples, for every evaluation while a run trains."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from wgan_jax.data.toy import Grid, Ring
from wgan_jax.distances.sliced import sliced_w1
from wgan_jax.metrics import mode_coverage
from wgan_jax.types import Array

_POINTS = 2_000


def watch(dataset: Any, fake: np.ndarray, real: np.ndarray, key: Array) -> dict[str, float]:
    """Of generated and real points [n, d].

    - `w1/sliced`, `w1/sliced_floor`: sliced W1 between samples and data, and between two halves
      of the data, at the same size;
    - `modes/found`, `modes/total`, `modes/high_quality`: of mixtures.
    """
    half = min(_POINTS, len(real) // 2)
    one, other, fake_half = real[:half], real[half : 2 * half], fake[:half]
    sliced, (on_fake, on_real) = jax.jit(sliced_w1), jax.random.split(key)
    found = {
        "w1/sliced": float(sliced(fake_half, one, on_fake)),
        "w1/sliced_floor": float(sliced(other, one, on_real)),
    }
    if isinstance(dataset, Ring | Grid):
        coverage = mode_coverage(fake, dataset.centers, dataset.std)
        found |= {"modes/found": coverage.found, "modes/total": coverage.modes}
        found["modes/high_quality"] = coverage.high_quality
    return found
