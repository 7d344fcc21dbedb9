"""Config nodes of image data sets that are kept on the device."""

from __future__ import annotations

import dataclasses
import math
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal, Self

import jax
import numpy as np

from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.data.columns import Columns
from wgan_jax.data.dataset import MOST_CONDITIONS, Dataset, DatasetConfig
from wgan_jax.data.labels import class_labels
from wgan_jax.data.pixels import decode
from wgan_jax.data.records import open_source, other_split
from wgan_jax.data.remote import expand_user, is_cached, is_remote, local_copy, require_no_password
from wgan_jax.data.targets import (
    Targets,
    class_names,
    count_labels,
    label_of,
    read_targets,
)
from wgan_jax.data.tfds import require_name
from wgan_jax.data.units import TableUnits
from wgan_jax.errors import UserError
from wgan_jax.types import PyTree

# Images of these data sets are smaller than the networks' and get a black margin.
_NATIVE_SIZES = {"mnist": 28, "fashion_mnist": 28, "kmnist": 28, "emnist": 28}
_DECODED_AT_A_TIME = 100  # images per task of a thread
_DIGITS = {"train": slice(1_500), "test": slice(1_500, None), "all": slice(None)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digits(DatasetConfig):
    """1,797 handwritten digits of 8 x 8 pixels, included in scikit-learn: no download.

    References:
      Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
    """

    split: Literal["train", "test", "all"] = "train"
    """Which images to read: the first 1,500 (train), the other 297 (test), or all."""
    labels: bool = False
    """Read pairs of image and label, for class-conditional networks."""

    def __post_init__(self) -> None:
        if self.split not in _DIGITS:
            raise ValueError(f"dataset.split must be one of {sorted(_DIGITS)}, got {self.split!r}")

    def open(self) -> ArrayDataset:
        from sklearn.datasets import load_digits

        digits = load_digits()
        images = np.round(digits.images[..., None] * (255 / 16)).astype(np.uint8)
        part = _DIGITS[self.split]
        return self._dataset(images[part], digits.target[part])

    def open_held_out(self) -> ArrayDataset | None:
        """Open the other split, which a run on this one does not train on; None for `all`."""
        others: dict[str, Literal["train", "test"]] = {"train": "test", "test": "train"}
        other = others.get(self.split)
        return None if other is None else dataclasses.replace(self, split=other).open()

    def with_labels(self) -> Digits:
        return dataclasses.replace(self, labels=True)

    def _dataset(self, images: np.ndarray, labels: np.ndarray) -> ArrayDataset:
        examples = (images, class_labels(labels)) if self.labels else images
        return ArrayDataset(examples, self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Prepared(DatasetConfig):
    """Base of the config nodes for images that TFDS has prepared."""

    name: str
    split: str
    image_size: int
    channels: int
    labels: bool = False
    """Read pairs of image and label, for class-conditional networks."""
    label: str | None = None
    """Name of the feature with the classes, which turns labels on; by default the feature called
    label."""
    condition: tuple[str, ...] | None = None
    """Names of features that samples are conditioned on, such as attributes/Smiling, or attributes
    for all features nested in it."""
    data_dir: str | None

    def __post_init__(self) -> None:
        require_name(self.name)
        require_no_password("dataset.data_dir", self.data_dir)
        if self.label is not None:
            object.__setattr__(self, "labels", True)

    @property
    def title(self) -> str:
        return self.name

    def at_location(self, location: str) -> Self:
        return dataclasses.replace(self, data_dir=location)

    def address_to_copy(self) -> str | None:
        url = self.data_dir
        if url is None or not is_remote(url) or is_cached(url, self.name.partition(":")[0]):
            return None
        return url

    def kept_beside(self) -> Path:
        folder = self.data_dir or os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
        here = local_copy(folder) if is_remote(folder) else Path(expand_user(folder))
        name = f"{self.name.replace('/', '-')}-{self.image_size}x{self.channels}"
        name += f"-{self.label.replace('/', '-')}" if self.label else ""
        return here / "wgan_jax_features" / name

    def open(self) -> Dataset:
        return self.open_with(None)

    def open_with(self, columns: Columns | None) -> Dataset:
        """Open the data with conditions encoded by `columns`, or by columns fitted to the data."""
        raise NotImplementedError

    def open_held_out(self) -> Dataset | None:
        """Open a split that a run on this one does not train on; None if none is available."""
        try:
            other = other_split(self.name, self.split, self.data_dir)
            columns = self.targets().columns() if other is not None else None
            held_out = dataclasses.replace(self, split=other or self.split)
            return None if other is None else held_out.open_with(columns)
        except UserError:  # not on this machine
            return None

    def targets(self) -> Targets:
        """Return labels and conditions of all examples; reads nothing if there are neither."""
        if not self.labels and not self.condition:
            return Targets(None, (), {})
        label = (self.label or "label") if self.labels else None
        return read_targets(self.name, self.split, self.data_dir, label, self.condition or ())

    def example_shape(self) -> tuple[int, ...]:
        return (self.image_size, self.image_size, self.channels)

    def num_classes(self) -> int:
        if not self.labels:
            return 0
        count = count_labels(label_of(self.name, self.data_dir, self.label or "label"))
        labels = None if count else self.targets().labels()
        return count if labels is None else int(labels.max()) + 1

    def summary(self) -> tuple[int | None, tuple[str, ...]]:
        names: tuple[str, ...] = ()
        if self.labels:
            names = class_names(label_of(self.name, self.data_dir, self.label or "label"))
        source = open_source(self.name, self.split, self.data_dir)
        return len(source), names

    def condition_rows(self) -> PyTree | None:
        if not self.condition:
            return None
        targets = self.targets()
        rows = targets.condition(targets.columns())
        count = len(jax.tree.leaves(rows)[0])
        return jax.tree.map(lambda x: x[:: -(-count // MOST_CONDITIONS)], rows)

    def with_labels(self) -> Self:
        return dataclasses.replace(self, labels=True, condition=None)

    def struct(self, n: int) -> PyTree:
        shape = (self.image_size, self.image_size)
        struct = image_struct(n, shape, self.channels, self.labels)
        if not self.condition:
            return struct
        width = self.targets().columns().width
        vectors = jax.ShapeDtypeStruct((n, width), np.float32)
        return (struct[0], (struct[1], vectors)) if self.labels else (struct, vectors)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFDS(Prepared):
    """A prepared TFDS data set with a feature `image`; other features are labels or conditions.

    Images are decoded once, padded or cropped to a square, and kept on the device as uint8.
    """

    name: str = "fashion_mnist"
    """Name of the data set in TFDS, with its config if it has one, such as lsun/bedroom."""
    split: str = "train"
    """Split of the data set in TFDS notation, such as train or train[:10%]."""
    image_size: int = 32
    """Height and width in pixels that images are brought to."""
    channels: int = 1
    """Channels that images are converted to: 1 for gray, 3 for color."""
    data_dir: str | None = None
    """TFDS data folder, or its URL (gs://, copied once); by default that of TFDS."""

    @property
    def native_size(self) -> int:
        """Height and width without the margin that `image_size` adds."""
        size = _NATIVE_SIZES.get(self.name.partition("/")[0], self.image_size)
        return min(size, self.image_size)

    def open(self) -> ArrayDataset:
        return self.open_with(None)

    def open_with(self, columns: Columns | None) -> ArrayDataset:
        targets = self.targets()
        columns = targets.columns() if columns is None else columns
        source = open_source(self.name, self.split, self.data_dir)
        shape = (len(source), self.image_size, self.image_size, self.channels)
        try:
            images = np.empty(shape, np.uint8)
        except (MemoryError, ValueError) as error:  # ValueError: beyond the address space
            size = math.prod(shape)
            raise UserError(f"{self.name} takes {size:,} bytes of memory: too many") from error

        def read(index: range) -> None:
            for i, record in zip(index, source.__getitems__(index), strict=True):
                name = f"image {i} of {self.name}"
                images[i] = decode(record["image"], self.image_size, self.channels, name=name)

        count, step = len(source), _DECODED_AT_A_TIME
        blocks = [range(i, min(i + step, count)) for i in range(0, count, step)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(read, blocks))
        condition = targets.condition(columns)
        return ArrayDataset(
            images if condition is None else (images, condition),
            self,
            targets.class_names,
            condition_units=TableUnits(columns) if columns.columns else None,
            label_name=self.label or "label",
        )


def image_struct(n: int, size: tuple[int, int], channels: int, labels: bool) -> PyTree:
    """Return shapes and dtypes of `n` images as networks take them, optionally with labels."""
    images = jax.ShapeDtypeStruct((n, *size, channels), np.float32)
    return (images, jax.ShapeDtypeStruct((n,), np.int32)) if labels else images
