"""Image data sets that do not fit on the device, read while the last chunk trains."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.data.arrays import to_unit_range
from wgan_jax.data.images import open_source, other_split
from wgan_jax.data.pixels import decode
from wgan_jax.data.remote import require_no_password
from wgan_jax.data.tfds import require_name
from wgan_jax.errors import UserError
from wgan_jax.types import Array

_MOST_EXAMPLES = 2**48  # of a run
_DIGESTED = 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFDSStream:
    """A prepared TFDS data set of images, decoded while it is used.

    The order is a function of the seed and the step alone, so a run that goes on
    reads what it would have read.
    """

    name: str = "lsun/bedroom"
    """Name of the data set in TFDS, with its config if it has one: lsun/bedroom."""
    split: str = "train"
    """Split of the data set, as TFDS writes it: train, or train[:10%]."""
    image_size: int = 64
    """Height and width of the images in pixels: the shorter side is scaled to it, the middle cut
    out."""
    channels: int = 3
    """Channels of the images: 1 for grey, 3 for color; others are converted."""
    data_dir: str | None = None
    """TFDS's data folder, or its URL (gs://, copied once); its own default if not given."""

    def __post_init__(self) -> None:
        require_name(self.name)
        require_no_password("dataset.data_dir", self.data_dir)

    def open(self) -> ImageStream:
        return ImageStream(self)

    def held_out(self) -> ImageStream | None:
        """A split that a run on this one does not train on; None where there is none."""
        other = other_split(self.name, self.split, self.data_dir)
        return None if other is None else dataclasses.replace(self, split=other).open()


class ImageStream:
    """Shuffled epochs of a `TFDSStream`, by position."""

    def __init__(self, spec: TFDSStream):
        self._spec = spec
        self._source = open_source(spec.name, spec.split, spec.data_dir, labels=False)

    @property
    def size(self) -> int:
        return len(self._source)

    def fingerprint(self) -> dict[str, Any]:
        """What tells this data set from others: name, size, and a digest of a few records."""
        digest = hashlib.sha256()
        for i in np.linspace(0, self.size - 1, min(self.size, _DIGESTED)).astype(int):
            digest.update(hashlib.sha256(self._source[int(i)]["image"]).digest())
        return {"name": self._spec.name, "size": self.size, "sha256": digest.hexdigest()}

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return (self._spec.image_size, self._spec.image_size, self._spec.channels)

    def batches(
        self, seed: int, batch_size: int, first: int, part: int = 0, parts: int = 1
    ) -> Iterator[np.ndarray]:
        """uint8 batches [batch_size / parts, size, size, channels], from batch number `first` on.

        Example `i` of batch `t` is number `t * batch_size + i` of an endless row of
        epochs, each shuffled anew: a function of the seed alone. A host reads and
        decodes consecutive examples of each batch, its own part; the batch is the
        same however many hosts share it.

        Args:
          seed: of the order.
          batch_size: of all parts together.
          first: the first batch.
          part, parts: which share of each batch, of how many.

        Raises:
          UserError: a batch is larger than the data set; when they are read,
            records that are no images.
        """
        import grain

        if batch_size > self.size:
            raise UserError(f"a batch of {batch_size} is larger than the {self.size} examples")
        if batch_size % parts:
            raise UserError(f"{parts} hosts cannot share a batch of {batch_size} evenly")
        # Grain's own "for ever" is a length that overflows where parts of it are taken.
        epochs = _MOST_EXAMPLES // self.size + 1
        examples = grain.MapDataset.source(self._source).seed(seed).shuffle().repeat(epochs)
        shares = examples.map(self._decode).batch(batch_size // parts)[part::parts]
        threads = os.cpu_count() or 1
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
        return iter(shares[first:].to_iter_dataset(options))

    def _decode(self, record: dict[str, Any]) -> np.ndarray:
        spec = self._spec
        name = f"an image of {spec.name}"
        return decode(record["image"], spec.image_size, spec.channels, name=name)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Chunk:
    """Consecutive batches [batches, batch, ...] as a sampler, from the batch `first` on."""

    batches: Array | np.ndarray
    first: Array | np.ndarray

    def __call__(self, key: Array, n: int) -> Array:
        raise TypeError("a Chunk is drawn from by step: use scan_steps")

    def at(self, key: Array, step: Array, n: int) -> Array:
        batch = lax.dynamic_index_in_dim(
            jnp.asarray(self.batches), step - self.first, keepdims=False
        )
        if batch.shape[0] != n:
            raise ValueError(f"the chunk holds batches of {batch.shape[0]}, not {n}")
        return to_unit_range(batch)
