"""A folder of the user's images, or a zip or tar of them, as a data set."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.data.arrays import ArrayDataset, to_unit_range
from wgan_jax.data.dataset import Dataset, DatasetConfig, fingerprint_of
from wgan_jax.data.decoded import Decoded, StoredRows, decoded
from wgan_jax.data.image_files import Source, open_source
from wgan_jax.data.images import image_struct
from wgan_jax.data.memory import device_room
from wgan_jax.data.pixels import Fit, color, decode
from wgan_jax.data.remote import expand_user, is_remote
from wgan_jax.data.stream import Stream
from wgan_jax.errors import UserError
from wgan_jax.types import Array, PyTree

logger = logging.getLogger(__name__)

_TRAIN, _HELD_OUT = "train", ("validation", "valid", "val", "test")
_LARGEST_SIDE, _TOLD = 1_024, 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folder(DatasetConfig):
    """Images in a folder and the folders in it, or in a zip or tar, of any size and kind.

    They are decoded once and kept in the cache folder; on the device, where they fit, and streamed
    where they do not. A folder with `train` and `test` (or `validation`) is used as it is: the
    other part is held out.

    Example:
      >>> Folder(path="pictures", image_size=(48, 64)).struct(8).shape
      (8, 48, 64, 3)
    """

    path: str = ""
    """Folder, zip or tar of images."""
    image_size: int | tuple[int, ...] = 32
    """Height and width of the images that come out; one number for both."""
    channels: int = 3
    """Channels that images are converted to: 1 for grey, 3 for color."""
    labels: bool = False
    """Pairs of image and label, the classes being the sub-folders, in the order of their names."""
    held_out: float = 0.0
    """Fraction of the images kept for evaluation, chosen by a hash of each file's content."""
    fit: Fit = "crop"
    """How images get the size: crop the middle, pad with the background, stretch, or keep pixels
    as they are."""
    background: str = "black"
    """Color behind transparent and around padded images, by name or #rrggbb."""
    flip: bool = False
    """Train on the mirror image of each image, too."""
    broken: Literal["refuse", "skip"] = "refuse"
    """What to do about images that cannot be read: refuse to train, or skip and count them."""

    def __post_init__(self) -> None:
        sides = self.size
        if len(sides) != 2 or not all(1 <= side <= _LARGEST_SIDE for side in sides):
            raise ValueError(
                f"dataset.image_size takes one number or two, height and width, from 1 to "
                f"{_LARGEST_SIDE:,}, got {self.image_size}"
            )
        if self.channels not in (1, 3):
            raise ValueError(f"dataset.channels must be 1 or 3, got {self.channels}")
        if not 0 <= self.held_out < 1:
            raise ValueError(f"dataset.held_out must be in [0, 1), got {self.held_out}")
        if self.fit not in ("crop", "pad", "stretch", "keep"):
            raise ValueError(f"dataset.fit must be crop, pad, stretch or keep, got {self.fit!r}")
        if self.broken not in ("refuse", "skip"):
            raise ValueError(f"dataset.broken must be refuse or skip, got {self.broken!r}")
        try:
            color(self.background)
        except ValueError as error:
            raise ValueError(f"dataset.background: {error}") from error

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width."""
        side = self.image_size
        return (side, side) if isinstance(side, int) else tuple(side)

    @property
    def title(self) -> str:
        return Path(self.path).name or "folder"

    def example_shape(self) -> tuple[int, ...]:
        return (*self.size, self.channels)

    def num_classes(self) -> int:
        return len(self.summary()[1]) if self.labels else 0

    def summary(self) -> tuple[int | None, tuple[str, ...]]:
        """From the names of the files, before any of them is decoded."""
        with contextlib.closing(self._source()) as source:
            names = [file.name for file in source.find().files]
        return len(names), class_names(names, self.path) if self.labels else ()

    def struct(self, n: int) -> PyTree:
        height, width = self.size
        return image_struct(n, (height, width), self.channels, self.labels)

    def with_labels(self) -> Folder:
        return dataclasses.replace(self, labels=True)

    def at_location(self, location: str) -> Folder:
        return dataclasses.replace(self, path=location)

    def open(self) -> Dataset:
        parts = self._read()
        parts.describe(self)
        return self._dataset(parts, parts.train, flip=self.flip)

    def open_held_out(self) -> Dataset | None:
        parts = self._read()
        return None if len(parts.held_out) < 2 else self._dataset(parts, parts.held_out, flip=False)

    def _source(self) -> Source:
        if not self.path:
            raise UserError("--dataset folder needs a --dataset.path FOLDER")
        if is_remote(self.path):
            raise UserError(f"{self.path} is an address: copy it to this machine first")
        return open_source(expand_user(self.path))

    def _read(self) -> Parts:
        shape = self.example_shape()

        def pixels(encoded: bytes, name: str) -> np.ndarray:
            size = (shape[0], shape[1])
            look = {"fit": self.fit, "background": self.background, "name": name}
            return decode(encoded, size, self.channels, **look)  # type: ignore[arg-type]

        about = [shape, self.fit, self.background]
        with contextlib.closing(self._source()) as source:
            return divide(decoded(source, about, shape, pixels), self)

    def _dataset(self, parts: Parts, rows: np.ndarray, *, flip: bool) -> Dataset:
        stored = StoredRows(parts.images.path, parts.images.shape, rows)
        labels = parts.labels[rows] if self.labels else None
        names = parts.class_names if self.labels else ()
        if stored.nbytes > device_room():
            return FolderStream(self, stored, labels, names, flip)
        pixels = np.load(parts.images.path, mmap_mode="r")
        pixels = pixels if len(rows) == len(pixels) else pixels[rows]
        kind = MirroredDataset if flip else ArrayDataset
        return kind(pixels if labels is None else (pixels, labels), self, names)


class Parts(NamedTuple):
    """The images of a folder, and which of them are for what."""

    images: Decoded
    train: np.ndarray
    held_out: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    def describe(self, config: Folder) -> None:
        """Tells what there is, a line each."""
        held_out = f", {len(self.held_out):,} of them held out" if len(self.held_out) else ""
        used = len(self.train) + len(self.held_out)
        logger.info(f"{config.path}: {used:,} images{held_out}")
        if config.labels:
            counts = np.bincount(self.labels[self.train], minlength=len(self.class_names))
            told = [
                f"{name} {count:,}" for name, count in zip(self.class_names, counts, strict=True)
            ]
            more = f" and {len(told) - _TOLD:,} more" if len(told) > _TOLD else ""
            logger.info(f"classes: {', '.join(told[:_TOLD])}{more}")
        if passed := {kind: n for kind, n in self.images.passed_over.items() if n}:
            kinds = ", ".join(f"{kind} {n:,}" for kind, n in sorted(passed.items())[:_TOLD])
            logger.info(f"passed over {sum(passed.values()):,} files that are no images: {kinds}")
        if self.images.faults:
            first = " ".join(min(self.images.faults.values()).split())
            logger.warning(f"left out {len(self.images.faults):,} broken images, such as {first}")


def divide(images: Decoded, config: Folder) -> Parts:
    """Which images are trained on and which held out, and of which class they are.

    Raises:
      UserError: there are too few of them, some are broken, or lie in no class.
    """
    where, faults = config.path, images.faults
    if faults and config.broken == "refuse":
        others = f" (and {len(faults) - 1:,} others)" if len(faults) > 1 else ""
        raise UserError(
            f"{faults[min(faults)]}{others}, in {where}: mend or remove it, or leave such images "
            f"out with --dataset.broken skip"
        )
    good = np.array([name not in faults for name in images.names], bool)
    if good.sum() < 2:
        held = f"one image, {images.names[int(good.argmax())]}" if good.any() else "no images"
        raise UserError(f"{where} holds {held}{_what_else(images)}: training takes more")
    if (other := _other_part(images.names)) is not None:
        part = np.array([name.partition("/")[0].lower() for name in images.names])
        held_out, train = part == other, part == _TRAIN
    else:
        held_out = images.hashes < np.uint64(config.held_out * 2**64)
        train = ~held_out
    if (train & good).sum() < 2:
        left = (train & good).sum()
        raise UserError(f"{where} has {left} images left to train on: hold fewer of them out")
    names: tuple[str, ...] = ()
    labels = np.zeros(len(good), np.int32)
    if config.labels:
        names = class_names(images.names, where)
        number = {name: i for i, name in enumerate(names)}
        used = good & (train | held_out)
        labels = np.array([number.get(_class(name), 0) for name in _relative(images.names)])
        counts = np.bincount(labels[used], minlength=len(names))
        if counts.min() < 2:
            few = names[int(counts.argmin())]
            raise UserError(
                f"the class {few} of {where} has {counts.min()} images that can be read, and a "
                f"class takes two at least: add to it, or take its folder away"
            )
    train_rows, held_out_rows = np.flatnonzero(train & good), np.flatnonzero(held_out & good)
    return Parts(images, train_rows, held_out_rows, labels.astype(np.int32), names)


def class_names(names: list[str], where: str) -> tuple[str, ...]:
    """The folders that images lie in, sorted.

    Raises:
      UserError: some lie in none.
    """
    relative = _relative(names)
    loose = [name for name in relative if "/" not in name]
    if loose:
        raise UserError(
            f"{where} has {len(loose):,} images in no class folder, such as {loose[0]}: put each "
            f"class into a folder of its own, or train without --dataset.labels"
        )
    return tuple(sorted({_class(name) for name in relative}))


def _parts(names: list[str]) -> set[str]:
    """`train` and what lies beside it, where a folder is divided so; else empty."""
    tops = {name.partition("/")[0].lower() if "/" in name else "" for name in names}
    return tops if _TRAIN in tops and tops <= {_TRAIN, *_HELD_OUT} else set()


def _other_part(names: list[str]) -> str | None:
    """The folder next to `train` that is held out; None without."""
    return next((top for top in _HELD_OUT if top in _parts(names)), None)


def _relative(names: list[str]) -> list[str]:
    """Names without `train` or `test` in front."""
    return [name.partition("/")[2] for name in names] if _parts(names) else names


def _class(name: str) -> str:
    return name.partition("/")[0]


def _what_else(images: Decoded) -> str:
    others = sum(images.passed_over.values()) + len(images.faults)
    return f" ({others:,} other files)" if others else ""


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class MirroredDataset(ArrayDataset):
    """Images and their mirror images: an epoch visits both."""

    @property
    def size(self) -> int:
        return 2 * jax.tree.leaves(self.examples)[0].shape[0]

    def class_labels(self) -> np.ndarray | None:
        labels = super().class_labels()
        return None if labels is None else np.concatenate([labels, labels])

    def _take(self, index: Array) -> PyTree:
        images, *labels = jax.tree.leaves(self.examples)
        count = images.shape[0]
        x, mirrored = jnp.asarray(images)[index % count], index >= count
        x = to_unit_range(jnp.where(mirrored[:, None, None, None], x[:, :, ::-1], x))
        return (x, jnp.asarray(labels[0])[index % count]) if labels else x


class FolderStream(Stream):
    """Images that do not fit on the device, read from the file of decoded ones."""

    def __init__(
        self,
        config: Folder,
        images: StoredRows,
        labels: np.ndarray | None,
        class_names: tuple[str, ...],
        flip: bool,
    ):
        self.config, self._images, self._labels = config, images, labels
        self._names, self.source = class_names, range(len(images) * (1 + flip))

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._names

    def class_labels(self) -> np.ndarray | None:
        return None if self._labels is None else np.resize(self._labels, self.size)

    def fingerprint(self) -> dict[str, Any]:
        labels = [] if self._labels is None else [self._labels]
        return fingerprint_of(self.size, [self._images, *labels])

    def decoded(self, records: Any, n: int) -> Any:
        return records.batch(n).map(self._examples)  # a batch at a time, since each is little work

    def _examples(self, records: np.ndarray) -> PyTree:
        mirrored, rows = np.divmod(records, len(self._images))
        images = self._images[rows]
        images[mirrored > 0] = images[mirrored > 0][:, :, ::-1]
        return images if self._labels is None else (images, self._labels[rows])
