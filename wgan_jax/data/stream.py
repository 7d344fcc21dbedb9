"""Image data sets that do not fit on the device, read while the previous chunk trains."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Iterator
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.data.arrays import to_unit_range
from wgan_jax.data.columns import Columns
from wgan_jax.data.dataset import Dataset, DatasetConfig
from wgan_jax.data.images import Prepared
from wgan_jax.data.pixels import decode
from wgan_jax.data.records import Records, open_source
from wgan_jax.data.units import TableUnits
from wgan_jax.errors import UserError
from wgan_jax.types import Array, PyTree

_MOST_EXAMPLES = 2**48  # in a run
_DIGESTED = 64
_PRELOADED_VALUES = 2**25  # of the batches in a `Cycle`


@dataclasses.dataclass(frozen=True, kw_only=True)
class TFDSStream(Prepared):
    """A prepared TFDS data set of images, decoded on the fly.

    The order depends only on the seed and the step, so a resumed run reads the same batches as an
    uninterrupted one.
    """

    name: str = "lsun/bedroom"
    """Name of the data set in TFDS, with its config if it has one, such as lsun/bedroom."""
    split: str = "train"
    """Split of the data set in TFDS notation, such as train or train[:10%]."""
    image_size: int = 64
    """Height and width in pixels: the shorter side is scaled to it, and the image cropped to the
    center."""
    channels: int = 3
    """Channels that images are converted to: 1 for gray, 3 for color."""
    data_dir: str | None = None
    """TFDS data folder, or its URL (gs://, copied once); by default that of TFDS."""

    def open_with(self, columns: Columns | None) -> ImageStream:
        return ImageStream(self, columns)


class Stream(Dataset):
    """Shuffled epochs over encoded or stored examples.

    `self.source` gives random access to records; `decode` turns a record into an example: uint8
    pixels, or a pair with a label.
    """

    config: DatasetConfig
    source: Any

    def decode(self, record: Any) -> PyTree:
        """Decode a record into an example."""
        raise NotImplementedError

    def decoded(self, records: Any, n: int) -> Any:
        """Map a `grain.MapDataset` of records to batches of `n` examples."""
        return records.map(self.decode).batch(n)

    @property
    def size(self) -> int:
        return len(self.source)

    @property
    def is_stream(self) -> bool:
        return True

    def struct(self, n: int) -> PyTree:
        return self.config.struct(n)

    def held_out(self) -> Dataset | None:
        return self.config.open_held_out()

    def draws(self, key: Array, n: int, count: int) -> Iterator[PyTree]:
        for batch in islice(self.batches(int(jax.random.bits(key)), n, 0), count):
            yield jax.tree.map(lambda x: to_unit_range(jnp.asarray(x)), batch)

    def sampler(self, key: Array, n: int, count: int) -> Cycle:
        values = sum(int(np.prod(x.shape)) for x in jax.tree.leaves(self.struct(n)))
        count, order = max(1, min(count, _PRELOADED_VALUES // values)), int(jax.random.bits(key))
        batches = islice(self.batches(order, n, 0), count)
        return Cycle(jax.tree.map(lambda *batch: np.stack(batch), *batches))

    def batches(
        self, seed: int, batch_size: int, first: int, part: int = 0, parts: int = 1
    ) -> Iterator[PyTree]:
        """Iterate over uint8 batches [batch_size / parts, height, width, channels] from `first` on.

        Labeled data give pairs with int32 labels. Example `i` of batch `t` is number
        `t * batch_size + i` of an endless sequence of epochs, each with a new shuffle; the order
        depends on the seed alone. Each host reads and decodes its own consecutive part of a batch;
        the batch is the same for any number of hosts.

        Args:
          seed: of the order.
          batch_size: of all parts together.
          first: number of the first batch.
          part, parts: index of this host's part of each batch, and the number of parts.

        Raises:
          UserError: a batch is larger than the data set; while iterating, a record is not an
            image.
        """
        import grain

        if batch_size > self.size:
            raise UserError(f"a batch of {batch_size} is larger than the {self.size} examples")
        if batch_size % parts:
            raise UserError(f"{parts} hosts cannot share a batch of {batch_size} evenly")
        # Grain's infinite repeat is a length that overflows when it is sliced.
        epochs = _MOST_EXAMPLES // self.size + 1
        examples = grain.MapDataset.source(self.source).seed(seed).shuffle().repeat(epochs)
        shares = self.decoded(examples, batch_size // parts)[part::parts]
        threads = os.cpu_count() or 1
        options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
        return iter(shares[first:].to_iter_dataset(options))


class ImageStream(Stream):
    """The images of a `TFDSStream`, with their labels and conditions."""

    def __init__(self, config: TFDSStream, columns: Columns | None = None):
        self.config: TFDSStream = config
        self._targets = config.targets()
        self._columns = self._targets.columns() if columns is None else columns
        self._condition = self._targets.condition(self._columns)
        self._records = open_source(config.name, config.split, config.data_dir)
        self.source = _Numbered(self._records)

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._targets.class_names

    @property
    def label_name(self) -> str:
        return self.config.label or "label"

    @property
    def condition_units(self) -> TableUnits | None:
        return TableUnits(self._columns) if self._columns.columns else None

    def class_labels(self) -> np.ndarray | None:
        return self._targets.labels()

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies this data set: name, size, and a digest of a few records."""
        digest = hashlib.sha256()
        for i in np.linspace(0, self.size - 1, min(self.size, _DIGESTED)).astype(int):
            digest.update(hashlib.sha256(self._records[int(i)]["image"]).digest())
        for values in self._targets.values.values():
            digest.update(values.tobytes())
        return {"name": self.config.name, "size": self.size, "sha256": digest.hexdigest()}

    def decode(self, record: tuple[int, dict[str, Any]]) -> PyTree:
        (i, content), config = record, self.config
        name = f"image {i} of {config.name}"
        image = decode(content["image"], config.image_size, config.channels, name=name)
        if self._condition is None:
            return image
        return image, jax.tree.map(lambda x: x[i], self._condition)


class _Numbered:
    """Records with their positions."""

    def __init__(self, records: Records):
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, i: int) -> tuple[int, dict[str, Any]]:
        return i, self._records[i]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class PreloadedBatches:
    """Consecutive batches [batches, batch, ...] as a sampler, starting at batch `first`."""

    batches: PyTree
    first: Array | np.ndarray

    def __call__(self, key: Array, n: int) -> PyTree:
        raise TypeError("PreloadedBatches are drawn from by step: use scan_steps")

    def at(self, key: Array, step: Array, n: int) -> PyTree:
        return _batch(self.batches, step - self.first)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cycle:
    """Batches [batches, batch, ...] by step, repeated cyclically."""

    batches: PyTree

    def at(self, key: Array, step: Array, n: int) -> PyTree:
        return _batch(self.batches, step % len(jax.tree.leaves(self.batches)[0]))


def _batch(batches: PyTree, i: Array) -> PyTree:
    def pick(x: Array | np.ndarray) -> Array:
        return to_unit_range(lax.dynamic_index_in_dim(jnp.asarray(x), i, keepdims=False))

    return jax.tree.map(pick, batches)
