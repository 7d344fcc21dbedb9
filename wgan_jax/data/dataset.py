"""The protocol of data sets: all that training and evaluation ask of them, whatever their kind.

A `DatasetConfig` is the node of a config that says what to read, and `open` reads it. A `Dataset`
is open: a distribution that the compiled program samples, arrays on the device
(`data.arrays`), or a stream that the host reads while the last chunk trains (`data.stream`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.loop import as_pytree, shuffle_rows
from wgan_jax.types import Array, PyTree

# Names of the parts of data that come divided: of the second kind the first one there is counts.
TRAIN, HELD_OUT = "train", ("validation", "valid", "val", "test")
MOST_CONDITIONS = 2**16  # they are constants of the compiled program
_DIGESTED_BYTES = 2**26


class Mixture(NamedTuple):
    """Gaussians of equal weight, whose modes samples can be counted in.

    Attributes:
      centers: [modes, d].
      std: standard deviation of each along every axis.
    """

    centers: np.ndarray
    std: float


class Units(Protocol):
    """A map from what networks are trained on to the units that the user's data came in."""

    @property
    def example_shape(self) -> tuple[int, ...]:
        """The shape of one example of the networks."""

    @property
    def scale(self) -> float | None:
        """What turns distances of the networks into units; None where they have no one unit."""

    def to_units(self, x: np.ndarray) -> np.ndarray:
        """Examples [n, ...] of the networks in the units of the data."""

    def as_written(self, x: np.ndarray) -> np.ndarray:
        """Examples [n, ...] of the networks that have gone through a file of samples."""

    def by_column(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Points [n, d] of the networks as values by the names of their columns, in units."""

    def encode_value(self, name: str, text: str) -> tuple[slice, np.ndarray]:
        """Where in an encoded row the value of a column stands, and its numbers."""

    def standardized(self) -> list[tuple[str, int, float, float]]:
        """Name, place in an encoded row, center and scale of each column that is a number."""

    def decode_traced(self, x: Array) -> Array:
        """As `to_units`, in a program and in float32: values [n, ...], or columns [n, k]."""

    def encode_traced(self, values: Array) -> Array:
        """Values [n, d] in units as encoded rows, in a program."""

    def fields(self) -> list[dict[str, Any]]:
        """What is known of each column, as JSON values; nothing of images."""

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON values."""


class DatasetConfig:
    """Which data to read. All but `open` and `open_held_out` can be asked before data are read."""

    location_field: ClassVar[str] = "data_dir"
    """Field of the folder or address that data are read from."""

    @property
    def labels(self) -> bool | str | None:
        """Whether examples are pairs with class labels, be it by the name of the labels."""
        return False

    @property
    def title(self) -> str:
        """A short name for people."""
        return type(self).__name__.lower()

    @property
    def mixture(self) -> Mixture | None:
        """The Gaussians that the data are drawn from; None for all other data."""
        return None

    @property
    def native_size(self) -> int | None:
        """Height and width of images without a margin that was put around them; None without."""
        return None

    def open(self) -> Dataset:
        """Reads the data.

        Raises:
          UserError: they are missing, damaged, or not what the config says.
        """
        raise NotImplementedError

    def open_held_out(self) -> Dataset | None:
        """Data that a run on these does not train on; None where there are none here."""
        return None

    def struct(self, n: int) -> PyTree:
        """Shapes and dtypes of a batch of `n`."""
        return self.open().struct(n)

    def example_shape(self) -> tuple[int, ...] | None:
        """Shape of one example, of data that networks are fitted to; None of all others."""
        return None

    def num_classes(self) -> int:
        """How many classes these data have; 0 where they have none, or none that they tell."""
        return 0

    def condition_rows(self) -> PyTree | None:
        """Conditions of the data, vectors [m, k] or pairs (labels [m], vectors); None without.

        At most `MOST_CONDITIONS` evenly spaced ones, from which those of fakes are drawn.
        """
        return None

    def condition_dim(self) -> int:
        """How many numbers the vectors of conditions have; 0 without."""
        rows = self.condition_rows()
        return 0 if rows is None else jax.tree.leaves(rows)[-1].shape[1]

    def summary(self) -> tuple[int | None, tuple[str, ...]]:
        """The number of examples, None for a distribution, and the names of the classes."""
        data = self.open()
        return data.size, data.class_names

    def with_labels(self) -> DatasetConfig:
        """The same data as pairs with class labels.

        Raises:
          UserError: they have none.
        """
        raise UserError(f"{type(self).__name__} has no labels to train features with")

    def at_location(self, location: str) -> DatasetConfig:
        """The same data, read from another folder or address.

        Raises:
          UserError: they are read from nowhere.
        """
        raise UserError(f"{type(self).__name__} has no --data-dir")

    def open_samples(self, path: str, units: Units) -> Dataset:
        """A generator's samples of such data in a file, in the numbers of its networks.

        Raises:
          UserError: there are no files of samples in units of these data.
        """
        raise UserError(f"{type(self).__name__} has no samples in units")

    def address_to_copy(self) -> str | None:
        """The address that `open` would fetch data from; None where all is on this machine."""
        return None

    def kept_beside(self) -> Path | None:
        """Start of the names of files that belong to these data; None without a place for them."""
        return None


class Dataset:
    """An open data set. `real[n, ...]` below is an array, or a pair with labels [n]."""

    @property
    def size(self) -> int | None:
        """The number of examples; None for a distribution, which has no end."""
        return None

    @property
    def is_stream(self) -> bool:
        """Whether the host reads `batches`; else the data set is itself a sampler."""
        return False

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes 0, 1, ...; empty where they have none."""
        return ()

    @property
    def label_name(self) -> str:
        """What the labels are called, as the name of a column."""
        return "label"

    @property
    def units(self) -> Units | None:
        """The way back to the units of the user's data; None where data are as they came."""
        return None

    @property
    def condition_units(self) -> Units | None:
        """The way back to the units of conditions; None where the data have none."""
        return None

    def in_units(self, units: Units | None) -> Dataset:
        """The same data in the units that a run began with; as they are where there are none."""
        return self

    def class_labels(self) -> np.ndarray | None:
        """The label of each example, int32 [size]; None where there are none."""
        return None

    def __call__(self, key: Array, n: int) -> PyTree:
        """`n` samples."""
        return next(self.draws(key, n, 1))

    def struct(self, n: int) -> PyTree:
        """Shapes and dtypes of a batch of `n`, as networks take it."""
        raise NotImplementedError

    def on_device(self) -> Dataset:
        """The data set with its arrays on the default device."""
        return self

    def held_out(self) -> Dataset | None:
        """Data of the same distribution that no training step sees; None where there are none."""
        raise NotImplementedError

    def fingerprint(self) -> dict[str, Any] | None:
        """What tells this data set from others; None where the config alone tells it."""
        return None

    def draws(self, key: Array, n: int, count: int) -> Iterator[PyTree]:
        """`count` sets of exactly `n` samples, rows in random order; finite data repeat none.

        Raises:
          ValueError: a finite data set holds fewer than `n`.
        """
        raise NotImplementedError

    def sampler(self, key: Array, n: int, count: int) -> Any:
        """A sampler for `count` steps of `n` in one compiled program: of a stream, a few batches.

        `key` chooses which.
        """
        return self

    def batches(
        self, seed: int, batch_size: int, first: int, part: int = 0, parts: int = 1
    ) -> Iterator[PyTree]:
        """Batches that the host reads, of a stream; see `data.stream`."""
        raise TypeError(f"{type(self).__name__} is sampled on the device and not read in batches")


class Distribution(Dataset):
    """A distribution: a callable pytree `(key, n) -> real[n, ...]`, so a sampler of `scan_steps`.

    Each draw is new, and so it is its own held-out data.
    """

    def __call__(self, key: Array, n: int) -> PyTree:
        raise NotImplementedError

    def struct(self, n: int) -> PyTree:
        return jax.eval_shape(lambda key: self(key, n), jax.random.key(0))

    def held_out(self) -> Dataset:
        return self

    def draws(self, key: Array, n: int, count: int) -> Iterator[PyTree]:
        # A sampler may give rows that are independent of each other but sorted.
        for on_rows, on_order in jax.random.split(key, (count, 2)):
            yield shuffle_rows(on_order, self(on_rows, n))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sampled(Distribution):
    """The distribution that a sampler of the user's own draws from."""

    draw: Any

    def __call__(self, key: Array, n: int) -> PyTree:
        return self.draw(key, n)


def as_dataset(data: Dataset | Callable[[Array, int], PyTree]) -> Dataset:
    """A sampler `(key, n) -> real[n, ...]` as a data set; data sets as they are.

    Example:
      >>> as_dataset(lambda key, n: jax.random.normal(key, (n, 2))).struct(3).shape
      (3, 2)
    """
    return data if isinstance(data, Dataset) else Sampled(as_pytree(data))


def fingerprint_of(size: int, leaves: Sequence[Any]) -> dict[str, Any]:
    """What tells a data set from others, of arrays or what is indexed as they are."""
    stride = max(1, -(-sum(x.nbytes for x in leaves) // _DIGESTED_BYTES))
    digest = hashlib.sha256()
    for x in leaves:
        digest.update(f"{x.dtype}{x.shape}".encode())
        digest.update(np.ascontiguousarray(x[::stride]).tobytes())
    return {"size": size, "sha256": digest.hexdigest()}
