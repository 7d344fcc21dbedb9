"""Exact W1 between samples of a run and its data, and mode coverage of the samples."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np

from wgan_jax.data.dataset import Dataset, DatasetConfig
from wgan_jax.distances.exact import exact_w1
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.evaluation.samples import draw_sizes, fake_draws, points
from wgan_jax.experiment.evaluation.units import by_column, has_columns, in_units
from wgan_jax.gan import GAN
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.metrics import mode_coverage
from wgan_jax.types import GANState

_POINTS, _DRAWS, _NEAR = 2_000, 6, 3


def evaluate(config: Config, gan: GAN, state: GANState, data: Dataset) -> dict[str, float]:
    """Return exact W1 of samples and data, its finite-sample baseline, and modes of a mixture.

    The baseline is exact W1 between the data and as many other data. It is what a second
    sample of the data scores and not a bound: a collapsed or shrunken generator can score
    below it. One draw is noisy, so the baseline is a mean over as many draws as a finite data
    set provides without repetition, at most six; so is W1 if it is close to the baseline.

    Args:
      state: its generator is used as is; `with_ema` selects the averaged weights.
    """
    on_real, on_fake = jax.random.split(derive_key(state.key, Purpose.EVALUATION))
    n, count = draw_sizes(data.size, _POINTS, _DRAWS)
    reals = [points(real) for real in data.draws(on_real, n, count)]
    fakes = [points(fake) for fake in fake_draws(gan, state, on_fake, n, count)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # scipy releases the GIL
        floor = float(np.mean(list(pool.map(exact_w1, reals[:-1], reals[1:]))))
        exact = [exact_w1(fakes[0], reals[0])]
        if exact[0] < _NEAR * floor:
            exact += pool.map(exact_w1, fakes[1:], reals[1:])
    result: dict[str, float] = {"points": n, "draws": len(exact)}
    result |= {"w1/exact": float(np.mean(exact)), "w1/floor": floor}
    if floor > 0:
        result["w1/ratio"] = result["w1/exact"] / floor
    if len(exact) > 1:
        result["w1/error"] = float(np.std(exact, ddof=1) / len(exact) ** 0.5)
    result = in_units(result, data.units) | modes(config.dataset, fakes)
    return result | _by_column(data, state, reals, fakes)


def _by_column(
    data: Dataset, state: GANState, reals: list[np.ndarray], fakes: list[np.ndarray]
) -> dict[str, float]:
    """Return W1 of each column: against held-out data with bounds, else against training data."""
    if data.units is None or not has_columns(data.units):
        return {}
    unseen, real, fake = data.held_out(), np.concatenate(reals), np.concatenate(fakes)
    if unseen is not None:
        assert unseen.size is not None
        key = derive_key(state.key, Purpose.EVALUATION, 1)
        real = points(next(unseen.draws(key, min(len(fake), unseen.size), 1)))
    return by_column(data.units, fake, real, bounds=unseen is not None)


def modes(dataset: DatasetConfig, fakes: list[np.ndarray]) -> dict[str, float]:
    """Return the mode coverage of sets of points if the data set is a mixture."""
    if dataset.mixture is None:
        return {}
    coverages = [mode_coverage(fake, *dataset.mixture) for fake in fakes]
    return {
        "modes/found": coverages[0].found,
        "modes/total": coverages[0].modes,
        "modes/high_quality": float(np.mean([c.high_quality for c in coverages])),
        "modes/points": len(fakes[0]),
    }
