"""Image data sets as config nodes: what to read; `open` reads it for the device."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal, Self

import jax
import numpy as np

from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.data.dataset import Dataset, DatasetConfig
from wgan_jax.data.labels import class_labels
from wgan_jax.data.pixels import decode
from wgan_jax.data.prepare import PREPARABLE
from wgan_jax.data.remote import (
    cached,
    expand_user,
    is_cached,
    is_remote,
    local_copy,
    require_no_password,
)
from wgan_jax.data.tfds import open_builder, require_files, require_name
from wgan_jax.errors import UserError
from wgan_jax.types import PyTree

# Whose images are smaller than the networks' and get a black margin.
_NATIVE_SIZES = {"mnist": 28, "fashion_mnist": 28, "kmnist": 28, "emnist": 28}
# Where examples that no training step sees are looked for, in this order.
_HELD_OUT = ("validation", "test", "train")
_DIGITS = {"train": slice(1_500), "test": slice(1_500, None), "all": slice(None)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Digits(DatasetConfig):
    """1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn: no download.

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
        """The other split, which a run on this one does not train on; None for `all`."""
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
    """What the nodes of images that TFDS has prepared have in common."""

    name: str
    split: str
    image_size: int
    channels: int
    data_dir: str | None

    def __post_init__(self) -> None:
        require_name(self.name)
        require_no_password("dataset.data_dir", self.data_dir)

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
        return here / "wgan_jax_features" / name

    def open_held_out(self) -> Dataset | None:
        """A split that a run on this one does not train on; None where there is none here."""
        try:
            other = other_split(self.name, self.split, self.data_dir)
            return None if other is None else dataclasses.replace(self, split=other).open()
        except UserError:  # it is not on this machine
            return None

    def struct(self, n: int) -> PyTree:
        return image_struct(n, (self.image_size, self.image_size), self.channels, bool(self.labels))


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFDS(Prepared):
    """A prepared TFDS data set with the features `image` and, if asked for, `label`.

    It is decoded once and kept on the device as uint8. Images are padded or
    cut to a square.
    """

    name: str = "fashion_mnist"
    """Name of the data set in TFDS, with its config if it has one: mnist, lsun/bedroom."""
    split: str = "train"
    """Split of the data set, as TFDS writes it: train, or train[:10%]."""
    image_size: int = 32
    """Height and width of the images in pixels; others are resized."""
    channels: int = 1
    """Channels of the images: 1 for grey, 3 for color; others are converted."""
    labels: bool = False
    """Read pairs of image and label, for class-conditional networks."""
    data_dir: str | None = None
    """TFDS's data folder, or its URL (gs://, copied once); its own default if not given."""

    @property
    def native_size(self) -> int:
        """Height and width without the margin that `image_size` adds."""
        size = _NATIVE_SIZES.get(self.name.partition("/")[0], self.image_size)
        return min(size, self.image_size)

    def open(self) -> ArrayDataset:
        source = open_source(self.name, self.split, self.data_dir, self.labels)
        shape = (len(source), self.image_size, self.image_size, self.channels)
        try:
            images, labels = np.empty(shape, np.uint8), [0] * len(source)
        except (MemoryError, ValueError) as error:  # ValueError: beyond all addresses
            raise UserError(f"{self.name} takes {shape} bytes of memory: too many") from error

        def read(index: range) -> None:
            for i, record in zip(index, source.__getitems__(index), strict=True):
                name = f"image {i} of {self.name}"
                images[i] = decode(record["image"], self.image_size, self.channels, name=name)
                labels[i] = record["label"] if self.labels else 0

        blocks = [range(i, min(i + 1000, len(source))) for i in range(0, len(source), 1000)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(read, blocks))
        examples = (images, class_labels(labels)) if self.labels else images
        return ArrayDataset(examples, self)

    def with_labels(self) -> TFDS:
        return dataclasses.replace(self, labels=True)


def image_struct(n: int, size: tuple[int, int], channels: int, labels: bool) -> PyTree:
    """Shapes and dtypes of `n` images as networks take them, in pairs with labels if asked for."""
    images = jax.ShapeDtypeStruct((n, *size, channels), np.float32)
    return (images, jax.ShapeDtypeStruct((n,), np.int32)) if labels else images


def other_split(name: str, split: str, data_dir: str | None) -> str | None:
    """A split that shares no example with `split`: another one, or the rest of a slice.

    Raises:
      UserError: the data set is not prepared.
    """
    splits = _builder(name, data_dir).info.splits
    known = {name for name, info in splits.items() if info.num_examples}
    named = {part.strip() for part in re.sub(r"\[[^]]*\]", "", split).split("+")}
    if not named <= known:  # `all`, or a form that is not told apart here
        return None
    other = next((name for name in _HELD_OUT if name in known - named), None)
    rest = re.fullmatch(r"(\w+)\[(:?)([^:\]]+)(:?)\]", split)
    if other is None and rest is not None and rest[2] != rest[4]:
        return f"{rest[1]}[{rest[4]}{rest[3]}{rest[2]}]"
    return other


def open_source(name: str, split: str, data_dir: str | None, labels: bool) -> Any:
    """A random-access source of records whose `image` is still encoded.

    Raises:
      UserError: the data set is not prepared, has no such split, or its
        features are not those of images. Nothing is downloaded.
    """
    import tensorflow_datasets as tfds

    builder = _builder(name, data_dir)
    features = dict(builder.info.features.items())
    wanted = {"image", "label"} if labels else {"image"}
    if not wanted <= set(features):
        raise UserError(f"{name} has the features {sorted(features)}, not {sorted(wanted)}")
    form = builder.info.file_format.value
    if form != "array_record":
        raise UserError(
            f"{name} is stored as {form} and not as array_record; "
            f"run: {_how_to_prepare(name, data_dir)}"
        )
    decoders = {"image": tfds.decode.SkipDecoding()}
    try:
        require_files(builder, split)
        source = builder.as_data_source(split=split, decoders=decoders)
    except UserError:
        raise
    except ValueError as error:
        splits = ", ".join(builder.info.splits)
        raise UserError(f"{name} has no split {split!r}; it has {splits}") from error
    except Exception as error:
        raise UserError(f"{name} is damaged ({_one_line(error)})") from error
    if len(source) == 0:
        raise UserError(f"the split {split!r} of {name} is empty")
    return Records(name, source)


def _builder(name: str, data_dir: str | None) -> Any:
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
    if data_dir is not None:
        is_url = is_remote(data_dir)
        data_dir = (
            str(cached(data_dir, name.partition(":")[0])) if is_url else expand_user(data_dir)
        )
    try:
        return open_builder(name, data_dir)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name} is not prepared; run: {_how_to_prepare(name, data_dir)}"
        ) from error


class Records:
    """A TFDS source whose errors say what is wrong in one line."""

    def __init__(self, name: str, source: Any):
        self._name, self._source = name, source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, index: Sequence[int]) -> list[dict[str, Any]]:
        try:
            return self._source.__getitems__(index)
        except Exception as error:
            raise UserError(f"{self._name} is damaged ({_one_line(error)})") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _how_to_prepare(name: str, data_dir: str | None) -> str:
    where = f" --data-dir {data_dir}" if data_dir else ""
    if name in PREPARABLE:
        return f"python -m wgan_jax prepare {name}{where}"
    where = where.replace("-dir", "_dir")
    return f"tfds build {name} --file_format=array_record{where} (needs TensorFlow)"
