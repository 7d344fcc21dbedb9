"""Rows of a user-supplied file: held-out split, validation, and class labels."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Generic, NamedTuple, Self, TypeVar

import jax
import numpy as np

from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.data.dataset import MOST_CONDITIONS, Dataset, DatasetConfig, Units
from wgan_jax.data.labels import ranges
from wgan_jax.data.remote import expand_user
from wgan_jax.data.stream import Stream
from wgan_jax.errors import UserError
from wgan_jax.memory import device_room
from wgan_jax.types import PyTree

logger = logging.getLogger(__name__)

Node = TypeVar("Node")
Content = TypeVar("Content")

_LISTED, _BLOCK_BYTES, _MOST_CLASSES = 10, 2**26, 1_000


def is_held_out(rows: Iterable[bytes], fraction: float) -> np.ndarray:
    """Return whether each row is held out, by a hash of its content; the same on every machine.

    Equal rows stay on the same side, so nothing held out was trained on, and adding rows does not
    move the others.

    Example:
      >>> held_out = is_held_out((str(i).encode() for i in range(10_000)), 0.1)
      >>> 900 < int(held_out.sum()) < 1_100
      True
    """
    limit = round(fraction * 2**64)
    digests = (hashlib.blake2b(row, digest_size=8).digest() for row in rows)
    return np.array([int.from_bytes(digest, "little") < limit for digest in digests], bool)


def require_both_parts(held_out: np.ndarray, fraction: float, where: str) -> None:
    """Refuse a split that leaves fewer than two rows for training or for evaluation.

    Raises:
      UserError: it does.
    """
    train, test = int((~held_out).sum()), int(held_out.sum())
    if fraction and min(train, test) < 2:
        raise UserError(
            f"--dataset.held-out {fraction} leaves {train:,} rows of {where} for training and "
            f"{test:,} for evaluation, but each part needs two: choose another fraction"
        )


def require_finite(x: np.ndarray, what: str) -> None:
    """Refuse an array [n, ...] with NaN or infinity, listing the rows; it is read in blocks.

    Raises:
      UserError: it has some.
    """
    if x.dtype.kind not in "fcmM":  # including NaT
        return
    step = max(1, _BLOCK_BYTES // max(1, x[:1].nbytes))
    blocks = [
        np.isfinite(x[i : i + step]).reshape(min(step, len(x) - i), -1).all(1)
        for i in range(0, len(x), step)
    ]
    bad = np.flatnonzero(~np.concatenate(blocks)) if blocks else np.zeros(0, int)
    if len(bad):
        raise UserError(f"{what} has NaN or infinity in {rows_in_words(bad, len(x))}")


def rows_in_words(rows: np.ndarray, of: int) -> str:
    """Format row numbers compactly.

    Example:
      >>> import numpy as np
      >>> rows_in_words(np.array([3, 4, 5, 9]), 20)
      '4 of 20 rows: 3-5, 9'
    """
    listed = ranges(rows[:_LISTED].tolist())
    more = f" and {len(rows) - _LISTED:,} more" if len(rows) > _LISTED else ""
    return f"{len(rows):,} of {of:,} rows: {listed}{more}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class FileConfig(DatasetConfig):
    """Examples in a user-supplied file, part of which may be held out."""

    path: str = ""
    """File of the data."""
    held_out: float = 0.0
    """Fraction of the examples kept for evaluation, chosen by a hash of their content."""
    condition: Any = None
    """Names of what samples are conditioned on."""

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ValueError(f"dataset.held_out must be in [0, 1), got {self.held_out}")

    @property
    def title(self) -> str:
        return Path(self.path).name or type(self).__name__.lower()

    def open(self) -> RowsDataset | RowsStream:
        return self.open_part()

    def open_held_out(self) -> RowsDataset | RowsStream | None:
        return self.open_part(held_out=True) if self.holds_out else None

    @property
    def holds_out(self) -> bool:
        """Whether part of the examples is held out."""
        return self.held_out > 0

    def open_part(
        self, units: Units | None = None, *, held_out: bool = False
    ) -> RowsDataset | RowsStream:
        """Open the examples for training or for evaluation, encoded by `units` if given."""
        if not self.path:
            raise UserError(f"--dataset {type(self).__name__.lower()} needs a --dataset.path FILE")
        is_first = units is None and not held_out
        return self.read(units, again=is_first).part(self, held_out=held_out)

    def read(self, units: Units | None, *, again: bool) -> Rows:
        """Return the complete file, encoded by `units` or by those fitted to its training data.

        With `again`, a changed file is read again; otherwise it stays as first read.
        """
        raise NotImplementedError

    def example_shape(self) -> tuple[int, ...]:
        return self.open().units.example_shape

    def num_classes(self) -> int:
        data = self.open()
        labels = data.class_labels()
        return 0 if labels is None else len(data.class_names) or int(labels.max()) + 1

    def condition_rows(self) -> PyTree | None:
        if self.condition is None:
            return None
        rows = self.read(None, again=False)
        index = np.flatnonzero(~rows.held_out)
        index = index[:: -(-len(index) // MOST_CONDITIONS)]
        return jax.tree.map(lambda x: x[index], rows.examples[1])

    def with_labels(self) -> DatasetConfig:
        # Only images need a classifier's features; points are compared as is.
        is_pair = self.labels and self.condition is None
        return self if is_pair and len(self.example_shape()) == 3 else super().with_labels()

    def at_location(self, location: str) -> Self:
        return dataclasses.replace(self, path=location)

    def open_samples(self, path: str, units: Units) -> RowsDataset | RowsStream:
        return self.config_of_samples(path).open_part(units)

    def config_of_samples(self, path: str) -> Self:
        """Return the config that reads samples from a file: all rows, without conditions."""
        return dataclasses.replace(self, path=path, held_out=0.0, condition=None)


class _Part(Dataset):
    """Some rows of a file, with access to the others."""

    config: Any

    def held_out(self) -> RowsDataset | RowsStream | None:
        return self.config.open_part(self.units, held_out=True) if self.config.holds_out else None

    def in_units(self, units: Units | None) -> Dataset:
        # The mean may be rounded differently on another machine.
        return self if units in (None, self.units) else self.config.open_part(units)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RowsDataset(_Part, ArrayDataset):
    """Rows of a user-supplied file, encoded for the networks.

    Attributes:
      digest: SHA-256 of the rows in the file, before any rounding by the encoding.
    """

    config: FileConfig = dataclasses.field(default=FileConfig(), metadata={"static": True})
    units: Units = dataclasses.field(kw_only=True, metadata={"static": True})
    digest: str = dataclasses.field(default="", metadata={"static": True})

    def fingerprint(self) -> dict[str, Any]:
        return {"size": self.size, "sha256": self.digest}


class RowsStream(_Part, Stream):
    """Rows of a file that do not fit on the device, read while the previous chunk trains.

    Args:
      config: of the file.
      rows: the complete file.
      index: of the rows of this data set.
    """

    def __init__(self, config: FileConfig, rows: Rows, index: np.ndarray):
        self.config: FileConfig = config
        self._rows, self._index, self.source = rows, index, range(len(index))

    @property
    def class_names(self) -> tuple[str, ...]:
        return self._rows.class_names

    @property
    def label_name(self) -> str:
        return self._rows.label_name

    @property
    def units(self) -> Units:
        return self._rows.units

    @property
    def condition_units(self) -> Units | None:
        return self._rows.condition_units

    def struct(self, n: int) -> PyTree:
        return ArrayDataset(self._rows.examples).struct(n)

    def class_labels(self) -> np.ndarray | None:
        labels = self._rows.labels
        return None if labels is None else labels[self._index]

    def fingerprint(self) -> dict[str, Any]:
        return {"size": self.size, "sha256": self._rows.digest}

    def decode(self, record: int) -> PyTree:
        i = int(self._index[record])
        return jax.tree.map(lambda x: x[i], self._rows.examples)


class Rows(NamedTuple):
    """The content of a file, read and encoded, before it is split.

    Attributes:
      x: examples [n, ...].
      units: of the examples.
      held_out: mask [n] of the examples for evaluation.
      digest: SHA-256 of the content.
      labels: int32 [n], if there are classes.
      class_names: of the classes 0, 1, ...; empty if they have no names.
      label_name: column name of the labels.
      conditions: float32 [n, k], if there are condition vectors.
      condition_units: of the conditions.
    """

    x: np.ndarray
    units: Units
    held_out: np.ndarray
    digest: str
    labels: np.ndarray | None = None
    class_names: tuple[str, ...] = ()
    label_name: str = "label"
    conditions: np.ndarray | None = None
    condition_units: Units | None = None

    @property
    def examples(self) -> PyTree:
        """Examples with their labels and conditions, [n, ...] each."""
        rest = [x for x in (self.labels, self.conditions) if x is not None]
        condition = rest[0] if len(rest) == 1 else tuple(rest)
        return (self.x, condition) if rest else self.x

    def part(self, config: FileConfig, *, held_out: bool) -> RowsDataset | RowsStream:
        """Return the rows for training or for evaluation; as a stream if the file is too large."""
        mask = self.held_out if held_out else ~self.held_out
        if self.x.nbytes > device_room():
            return RowsStream(config, self, np.flatnonzero(mask))
        keep: Any = slice(None) if mask.all() else mask
        examples = jax.tree.map(lambda x: x[keep], self.examples)
        names, label = self.class_names, self.label_name
        return RowsDataset(
            examples,
            config,
            names,
            units=self.units,
            condition_units=self.condition_units,
            digest=self.digest,
            label_name=label,
        )


class LastRead(Generic[Node, Content]):
    """Cache of the content read for the last config, which also serves later requests for parts.

    A file that disappears or changes during a run therefore does not stop the run.
    """

    def __init__(self, read: Callable[[Node], Content]):
        self._read = read
        self._last: tuple[Node, object, Content] | None = None

    def __call__(self, config: Node, files: object, *, again: bool) -> Content:
        """Return the content for a config; `files` are stamps that show whether it has changed."""
        if self._last is not None:
            last_config, last_files, content = self._last
            if last_config == config and (not again or last_files == files):
                return content
        self._last = (config, files, self._read(config))
        return self._last[2]


def stamp(*paths: str | None) -> tuple[tuple[int, ...] | None, ...]:
    """Return stamps that show whether files have changed since; None for a missing file."""
    stamps = []
    for path in paths:
        file = None if path is None else Path(expand_user(path))
        info = file.stat() if file is not None and file.is_file() else None
        stamps.append(info and (info.st_mtime_ns, info.st_size, info.st_ino))
    return tuple(stamps)


def classes(labels: np.ndarray, what: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return labels of any type as int32 [n], and the class names in sorted order.

    Raises:
      UserError: there are so many classes that the values look like measurements.

    Example:
      >>> import numpy as np
      >>> numbers, names = classes(np.array(["dog", "cat", "dog"]), "labels")
      >>> numbers.tolist(), names
      ([1, 0, 1], ('cat', 'dog'))
    """
    if labels.dtype.kind == "S":
        labels = np.char.decode(labels, "utf-8", "backslashreplace")
    values, numbers = np.unique(labels, return_inverse=True)
    if len(values) > _MOST_CLASSES:
        raise UserError(
            f"{what} has {len(values):,} different values, but at most {_MOST_CLASSES:,} classes "
            f"are possible: use measured numbers as a condition"
        )
    if values.dtype.kind == "f":
        wide = values.astype(np.float64)  # float16 cannot represent 2^62
        if (np.abs(wide) < 2**62).all() and (wide % 1 == 0).all():
            values = wide.astype(np.int64)
    names = tuple(str(value) for value in values)
    return numbers.reshape(-1).astype(np.int32), names


def log_classes(names: tuple[str, ...], what: str) -> None:
    """Log the name of each class number."""
    listed = ", ".join(f"{i} is {name}" for i, name in enumerate(names[:_LISTED]))
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    logger.info("classes of %s: %s%s", what, listed, more)
