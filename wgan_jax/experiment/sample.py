"""Samples of a trained generator, to a picture or to arrays."""

from __future__ import annotations

from pathlib import Path

import jax
import numpy as np

from wgan_jax.ema import with_ema
from wgan_jax.errors import UserError
from wgan_jax.experiment import pictures
from wgan_jax.experiment.trainer import Run

_BATCH = 500


def write_samples(run: Run, num: int, seed: int, path: Path) -> None:
    """`num` samples by `seed`: a .png of images or points of the plane, or a .npz of `samples`.

    Raises:
      UserError: samples that no picture shows, or a file that cannot be written.
    """
    samples = draw(run, num, seed)
    try:
        if path.suffix == ".npz":
            np.savez_compressed(path, samples=samples)
        elif samples.ndim == 4:
            pictures.image_grid(samples, path)
        elif samples.shape[1:] == (2,):
            pictures.points(samples, path)
        else:
            raise UserError(f"samples of shape {samples.shape[1:]} make no picture; use .npz")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def draw(run: Run, num: int, seed: int) -> np.ndarray:
    """`num` samples [num, ...] of the averaged weights where the run keeps an average.

    They are drawn in blocks of one size: one compile, and memory for one block.
    """
    state, key = with_ema(run.state), jax.random.key(seed)
    blocks = [
        jax.tree.leaves(run.gan.generate(state, jax.random.fold_in(key, i), _BATCH))[0]
        for i in range(-(-num // _BATCH))
    ]
    return np.concatenate([np.asarray(block) for block in blocks])[:num]
