"""Data sets of user-supplied images, decoded into a file of rows.

Shared by all sources of images: a folder (`data.folder`) and a Hugging Face data set
(`data.huggingface`).
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.data.arrays import ArrayDataset, to_unit_range
from wgan_jax.data.dataset import Dataset, DatasetConfig, fingerprint_of
from wgan_jax.data.decoded import Decoded, StoredRows, decoded
from wgan_jax.data.image_files import Source
from wgan_jax.data.images import image_struct
from wgan_jax.data.pixels import Fit, color, decode
from wgan_jax.data.stream import Stream
from wgan_jax.errors import UserError
from wgan_jax.memory import device_room
from wgan_jax.types import Array, PyTree

logger = logging.getLogger(__name__)

_LARGEST_SIDE, _LISTED = 1_024, 20


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecodedImages(DatasetConfig):
    """Images of any size and format, decoded once and kept in the cache folder."""

    path: str = ""
    """Location of the images."""
    image_size: int | tuple[int, ...] = 32
    """Height and width that images are brought to; one number for both."""
    channels: int = 3
    """Channels that images are converted to: 1 for gray, 3 for color."""
    labels: bool = False
    """Read pairs of image and label, for class-conditional networks."""
    held_out: float = 0.0
    """Fraction of the images kept for evaluation, chosen by a hash of each file's content."""
    fit: Fit = "crop"
    """How images are brought to the size: crop to the center, pad with the background, stretch, or
    keep the pixels of small images."""
    background: str = "black"
    """Color behind transparent images and around padded ones, by name or #rrggbb."""
    flip: bool = False
    """Also train on the mirror image of each image."""
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
        return Path(self.path).name or type(self).__name__.lower()

    def example_shape(self) -> tuple[int, ...]:
        return (*self.size, self.channels)

    def struct(self, n: int) -> PyTree:
        height, width = self.size
        return image_struct(n, (height, width), self.channels, self.labels)

    def with_labels(self) -> Self:
        return dataclasses.replace(self, labels=True)

    def at_location(self, location: str) -> Self:
        return dataclasses.replace(self, path=location)

    def read(self) -> Parts:
        """Return all images, decoded now or by an earlier run.

        Raises:
          UserError: they cannot be read, or are too few.
        """
        raise NotImplementedError

    def open(self) -> Dataset:
        parts = self.read()
        _last[:] = [(self, parts)]
        parts.describe(self)
        return self._dataset(parts, parts.train, flip=self.flip)

    def open_held_out(self) -> Dataset | None:
        parts = self._opened()
        return None if len(parts.held_out) < 2 else self._dataset(parts, parts.held_out, flip=False)

    def _opened(self) -> Parts:
        """Return what `open` last read, so that later changes of the files make no difference."""
        for config, parts in _last:
            if config == self and parts.images.path.exists():
                return parts
        return self.read()

    def decoded(self, source: Source, *about: Any) -> Decoded:
        """Decode the images of a source; `about` is what they depend on besides the fields above.

        Raises:
          UserError: they cannot be listed or cached, or some are broken and not to be skipped.
        """
        height, width, channels = shape = self.example_shape()

        def pixels(encoded: bytes, name: str) -> np.ndarray:
            look = {"background": self.background, "name": name}
            return decode(encoded, (height, width), channels, fit=self.fit, **look)

        images = decoded(source, [shape, self.fit, self.background, *about], shape, pixels)
        if images.faults and self.broken == "refuse":
            faults = images.faults
            more = f" (and {len(faults) - 1:,} others)" if len(faults) > 1 else ""
            raise UserError(
                f"{faults[min(faults)]}{more}, in {self.path}: fix or remove it, or skip such "
                f"images with --dataset.broken skip"
            )
        if len(images.names) - len(images.faults) < 2:
            good = [name for name in images.names if name not in images.faults]
            others = sum(images.passed_over.values()) + len(images.faults)
            raise too_few(self.path, good, others)
        return images

    def _dataset(self, parts: Parts, rows: np.ndarray, *, flip: bool) -> Dataset:
        stored = StoredRows(parts.images.path, parts.images.shape, rows)
        labels = parts.labels[rows] if self.labels else None
        names = parts.class_names if self.labels else ()
        if stored.nbytes > device_room():
            return DecodedStream(self, stored, labels, names, flip)
        pixels = np.load(parts.images.path, mmap_mode="r")
        pixels = pixels if len(rows) == len(pixels) else pixels[rows]
        kind = MirroredDataset if flip else ArrayDataset
        return kind(pixels if labels is None else (pixels, labels), self, names)


_last: list[tuple[DecodedImages, Parts]] = []


class Parts(NamedTuple):
    """Decoded images, with the rows for training and those held out."""

    images: Decoded
    train: np.ndarray
    held_out: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]

    @classmethod
    def of(
        cls,
        images: Decoded,
        config: DecodedImages,
        train: np.ndarray,
        held_out: np.ndarray,
        labels: np.ndarray | None = None,
        class_names: tuple[str, ...] = (),
    ) -> Parts:
        """Select the images that can be read.

        Args:
          images: all images.
          config: where they come from.
          train, held_out: boolean masks [n] of the two parts.
          labels: of all images.
          class_names: of the classes 0, 1, ...

        Raises:
          UserError: too few are left to train on.
        """
        good = np.array([name not in images.faults for name in images.names], bool)
        if (left := int((train & good).sum())) < 2:
            raise UserError(f"{config.path} has {left} images left to train on: hold out fewer")
        if config.held_out and (right := int((held_out & good).sum())) < 2:
            raise UserError(
                f"--dataset.held-out {config.held_out} leaves {right} of {int(good.sum()):,} "
                f"images of {config.path} for evaluation, which needs two: choose a larger fraction"
            )
        labels = np.zeros(len(good)) if labels is None else labels
        parts = np.flatnonzero(train & good), np.flatnonzero(held_out & good)
        return cls(images, *parts, labels.astype(np.int32), class_names)

    def describe(self, config: DecodedImages) -> None:
        """Log the numbers of images, classes and skipped files."""
        held_out = f", {len(self.held_out):,} of them held out" if len(self.held_out) else ""
        used = len(self.train) + len(self.held_out)
        logger.info(f"{config.path}: {used:,} images{held_out}")
        if config.labels:
            counts = np.bincount(self.labels[self.train], minlength=len(self.class_names))
            listed = [
                f"{' '.join(name.split())} {count:,}"
                for name, count in zip(self.class_names, counts, strict=True)
            ]
            more = f" and {len(listed) - _LISTED:,} more" if len(listed) > _LISTED else ""
            logger.info(f"classes: {', '.join(listed[:_LISTED])}{more}")
        if skipped := {kind: n for kind, n in self.images.passed_over.items() if n}:
            kinds = ", ".join(f"{kind} {n:,}" for kind, n in sorted(skipped.items())[:_LISTED])
            logger.info(f"skipped {sum(skipped.values()):,} files that are not images: {kinds}")
        if self.images.faults:
            first = " ".join(min(self.images.faults.values()).split())
            logger.warning(f"skipped {len(self.images.faults):,} broken images, such as {first}")


def too_few(path: str, names: list[str], others: int) -> UserError:
    """Return the error for at most one image, with `others` that are not images."""
    images = f"one image, {names[0]}" if names else "no images"
    rest = f" ({others:,} other files)" if others else ""
    return UserError(f"{path} holds {images}{rest}: training needs more")


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


class DecodedStream(Stream):
    """Images that do not fit on the device, read from the file of decoded images."""

    def __init__(
        self,
        config: DecodedImages,
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
        return records.batch(n).map(self._examples)  # by batch: one record is little work

    def _examples(self, records: np.ndarray) -> PyTree:
        mirrored, rows = np.divmod(records, len(self._images))
        images = self._images[rows]
        images[mirrored > 0] = images[mirrored > 0][:, :, ::-1]
        return images if self._labels is None else (images, self._labels[rows])
