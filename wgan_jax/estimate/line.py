"""W1 between two samples of numbers, which sorting finds, told apart from their noise."""

from __future__ import annotations

import numpy as np

from wgan_jax.distances.exact import exact_w1
from wgan_jax.estimate.bounds import denoised

_MARGIN = 2.0  # times the mean noise: 1 to 5% of samples of one law read more, of coins 11%


def w1_on_a_line(x: np.ndarray, y: np.ndarray) -> float:
    """Exact W1 of numbers x [n, 1] and y [m, 1], falling to 0 within what samples of one law read.

    W1(P_n, Q_m) is the area between the distribution functions F and G of the samples, and the
    noise of F - G at one place is normal in the limit, so its mean area for equal laws is

        sqrt(2 / pi) ∫ sqrt(F (1 - F) / n + G (1 - G) / m)

    References:
      del Barrio, Giné and Matrán, Central limit theorems for the Wasserstein distance
      between the empirical and the true distributions, 1999.

    Example:
      >>> x = np.random.default_rng(0).normal(size=(1000, 1))
      >>> round(w1_on_a_line(x, x + 1), 2), w1_on_a_line(x[:500], x[500:])
      (1.0, 0.0)
    """
    points = np.sort(np.concatenate([x[:, 0], y[:, 0]]).astype(np.float64))
    below = [np.searchsorted(np.sort(z[:, 0]), points[:-1], side="right") / len(z) for z in (x, y)]
    variance = sum(f * (1 - f) / len(z) for f, z in zip(below, (x, y), strict=True))
    noise = (2 / np.pi) ** 0.5 * float(np.sqrt(variance) @ np.diff(points))
    return denoised(exact_w1(x, y), _MARGIN * noise)
