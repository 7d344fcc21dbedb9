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
    """`num` samples by `seed`: a .png of images or points of the plane, or a .npz of all arrays.

    Raises:
      UserError: samples that no picture shows, or a file that cannot be written.
    """
    drawn = draw(run, num, seed)
    samples = drawn["samples"]
    try:
        if path.suffix == ".npz":
            np.savez_compressed(path, allow_pickle=False, **drawn)
        elif samples.ndim == 4:
            pictures.image_grid(samples, path)
        elif samples.shape[1:] == (2,):
            pictures.points(samples, path)
        else:
            raise UserError(f"samples of shape {samples.shape[1:]} make no picture; use .npz")
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def draw(run: Run, num: int, seed: int) -> dict[str, np.ndarray]:
    """`samples` [num, ...] and, of a conditional generator, their `labels` [num].

    They come from the averaged weights where the run keeps an average, and are
    drawn in blocks of one size: one compile, and memory for one block.
    """
    state, key = with_ema(run.state), jax.random.key(seed)
    blocks = []
    for i in range(-(-num // _BATCH)):
        block = run.gan.generate(state, jax.random.fold_in(key, i), _BATCH)
        blocks.append(jax.device_get(jax.tree.leaves(block)))
    arrays = (np.concatenate(leaves)[:num] for leaves in zip(*blocks, strict=True))
    return dict(zip(("samples", "labels"), arrays, strict=False))
