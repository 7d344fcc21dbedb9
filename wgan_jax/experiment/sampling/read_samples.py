"""Reads samples from files as `sample` writes them."""

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
    """The samples [n, ...] of a file in the numbers of networks.

    Args:
      path: .npy, .npz, .csv or .parquet.
      dataset: the config of the data that a generator was trained on.
      data: the same, open.

    Raises:
      UserError: no such file, or samples of another shape than the data have.
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
    if x.ndim == 4 and x.shape[1] == dataset.native_size:
        x = _in_margin(x, shape)
    if x.shape[1:] != shape:
        raise UserError(f"{path} holds samples of shape {x.shape[1:]}, but the data have {shape}")
    return x


def as_written(samples: np.ndarray, dataset: Any, data: Dataset) -> np.ndarray:
    """A generator's samples [n, ...] as they are read from a file that `sample` wrote."""
    if data.units is not None:
        return data.units.as_written(samples)
    if not dataset.native_size or samples.ndim != 4:
        return samples
    return _in_margin(cut_to_middle(samples, dataset.native_size), samples.shape[1:])


def _in_margin(images: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Images of a native size in the black margin that training put around them."""
    room = [whole - part for whole, part in zip(shape[:2], images.shape[1:3], strict=True)]
    sides = [(0, 0), *((more // 2, more - more // 2) for more in room), (0, 0)]
    return np.pad(images, sides, constant_values=-1.0)


def _rows(data: Dataset) -> np.ndarray:
    """All rows of a finite data set."""
    assert data.size is not None
    return examples_of(next(data.draws(jax.random.key(0), data.size, 1)))
