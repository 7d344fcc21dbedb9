"""Reads samples from files in the formats of `wgan-jax sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from wgan_jax.data.array_files import open_array, samples_key
from wgan_jax.data.dataset import Dataset
from wgan_jax.data.pixels import cut_to_middle
from wgan_jax.data.table import Table
from wgan_jax.data.table_files import is_table
from wgan_jax.data.units import axes
from wgan_jax.errors import UserError
from wgan_jax.experiment.evaluation.samples import examples_of, sample_shape


def read_samples(path: Path, dataset: Any, data: Dataset) -> np.ndarray:
    """Reads the samples [n, ...] of a file, scaled like network outputs.

    Args:
      path: a .npy, .npz, .csv or .parquet file.
      dataset: config of the data set that the generator was trained on.
      data: the same data set, open.

    Raises:
      UserError: the file cannot be read, holds integers in place of images in [-1, 1], or its
        samples do not have the shape of the data.
    """
    shape = sample_shape(data)
    if data.units is not None:
        x = _rows(dataset.open_samples(str(path), data.units))
    elif is_table(path):
        if len(shape) != 1:
            raise UserError(f"{path} is a table, but the data have the shape {shape}")
        names = tuple(axes(np.zeros((1, *shape))))
        opened = Table(path=str(path), columns=names).open()
        columns = opened.units.by_column(_rows(opened))
        x = np.stack([columns[name] for name in names], 1)
    else:
        x = np.asarray(open_array(str(path), samples_key(str(path)), "an array of its own"))
    if data.units is None and len(shape) == 3 and not np.issubdtype(x.dtype, np.floating):
        raise UserError(
            f"{path} holds images of {x.dtype}, but samples are compared in [-1, 1]: convert "
            "pixels of 0 to 255 by x / 127.5 - 1"
        )
    if x.ndim == 4 and x.shape[1] == dataset.native_size:
        x = _pad_to(x, shape)
    if x.shape[1:] != shape:
        raise UserError(f"{path} holds samples of shape {x.shape[1:]}, but the data have {shape}")
    return x


def as_written(samples: np.ndarray, dataset: Any, data: Dataset) -> np.ndarray:
    """Returns samples [n, ...] as if they had been written by `sample` and read back."""
    if data.units is not None:
        return data.units.as_written(samples)
    if not dataset.native_size or samples.ndim != 4:
        return samples
    return _pad_to(cut_to_middle(samples, dataset.native_size), samples.shape[1:])


def _pad_to(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Pads images of the native size with the black margin that they have in training."""
    missing = [full - native for full, native in zip(shape[:2], images.shape[1:3], strict=True)]
    margins = [(0, 0), *((n // 2, n - n // 2) for n in missing), (0, 0)]
    return np.pad(images, margins, constant_values=-1.0)


def _rows(data: Dataset) -> np.ndarray:
    """Returns all rows of a finite data set."""
    assert data.size is not None
    return examples_of(next(data.draws(jax.random.key(0), data.size, 1)))
