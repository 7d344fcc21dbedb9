"""Mode coverage of Gaussian mixtures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from wgan_jax.types import Array


class Coverage(NamedTuple):
    """Mode coverage of a mixture.

    Attributes:
      found: modes with at least one sample within three standard deviations.
      modes: number of modes of the mixture.
      high_quality: fraction of samples within three standard deviations of a mode.
    """

    found: int
    modes: int
    high_quality: float


def mode_coverage(samples: Array | np.ndarray, centers: Array | np.ndarray, std: float) -> Coverage:
    """Count the modes that samples reach, following PacGAN's protocol.

    Args:
      samples: [n, d].
      centers: centers of the modes, [k, d].
      std: standard deviation of each mode.

    Raises:
      ValueError: shapes that do not fit.

    Example:
      >>> import numpy as np
      >>> mode_coverage(np.array([[0.0, 0.01], [5.0, 0.0]]), np.zeros((1, 2)), 0.1)
      Coverage(found=1, modes=1, high_quality=0.5)

    References:
      Lin et al., PacGAN, 2017, section 4.1: 2,500 samples, three standard deviations.
    """
    samples, centers = np.asarray(samples), np.asarray(centers)
    if samples.ndim != 2 or centers.ndim != 2 or samples.shape[1] != centers.shape[1]:
        raise ValueError(
            f"mode_coverage takes samples [n, d] and centers [k, d], got {samples.shape} and "
            f"{centers.shape}"
        )
    distance = np.linalg.norm(samples[:, None] - centers[None], axis=-1)
    near = distance.min(1) < 3 * std
    found = np.unique(distance.argmin(1)[near])
    return Coverage(len(found), len(centers), float(near.mean()))
