"""The interface between data sets of any kind and training and evaluation.

A `DatasetConfig` is a config node that describes what to read; `open` reads it. A `Dataset` is
open: a distribution that the compiled program samples, arrays on the device (`data.arrays`), or a
stream that the host reads while the previous chunk trains (`data.stream`).
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

# Split names of data that come divided; the first of the held-out names that exists is used.
TRAIN, HELD_OUT = "train", ("validation", "valid", "val", "test")
MOST_CONDITIONS = 2**16  # they are constants of the compiled program
_DIGESTED_BYTES = 2**26


class Mixture(NamedTuple):
    """Gaussians of equal weight, for counting the modes that samples reach.

    Attributes:
      centers: [modes, d].
      std: standard deviation of each Gaussian along every axis.
    """

    centers: np.ndarray
    std: float


class Units(Protocol):
    """Conversion between the encoded examples of the networks and the units of the user's data."""

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one encoded example."""

    @property
    def scale(self) -> float | None:
        """Factor from distances of encoded examples to units; None without a common unit."""

    def to_units(self, x: np.ndarray) -> np.ndarray:
        """Convert encoded examples [n, ...] to the units of the data."""

    def as_written(self, x: np.ndarray) -> np.ndarray:
        """Return encoded examples [n, ...] as a round trip through a sample file leaves them."""

    def by_column(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Convert encoded points [n, d] to values in units by column name."""

    def encode_value(self, name: str, text: str) -> tuple[slice, np.ndarray]:
        """Return the slice of an encoded row that a column takes, and its encoded value.

        Raises:
          UserError: no such column, or not a value of it.
        """

    def covering(self, x: np.ndarray) -> Units:
        """Return the units in which encoded points [n, d] keep values unlike those of the data."""

    def standardized(self) -> list[tuple[str, int, float, float]]:
        """Return name, index in an encoded row, center and scale of each numeric column."""

    def decode_traced(self, x: Array) -> Array:
        """As `to_units`, but traceable and in float32: values [n, ...], or columns [n, k]."""

    def encode_traced(self, values: Array) -> Array:
        """Encode values [n, d] in units; traceable."""

    def fields(self) -> list[dict[str, Any]]:
        """Describe each column by JSON values; empty for images."""

    def to_json(self) -> dict[str, Any]:
        """Return the conversion as JSON values."""


class DatasetConfig:
    """Config node for the data to read. All but `open` and `open_held_out` work before reading."""

    location_field: ClassVar[str] = "data_dir"
    """Name of the field with the folder or address that data are read from."""

    @property
    def labels(self) -> bool | str | None:
        """Whether examples are pairs with class labels; may be the name of the labels."""
        return False

    @property
    def title(self) -> str:
        """Short name for display."""
        return type(self).__name__.lower()

    @property
    def mixture(self) -> Mixture | None:
        """Gaussians that the data are drawn from; None for all other data."""
        return None

    @property
    def native_size(self) -> int | None:
        """Height and width of images without the margin added around them; None without one."""
        return None

    def open(self) -> Dataset:
        """Read the data.

        Raises:
          UserError: they are missing, damaged, or do not match the config.
        """
        raise NotImplementedError

    def open_held_out(self) -> Dataset | None:
        """Open data that a run on these does not train on; None if none are available."""
        return None

    def struct(self, n: int) -> PyTree:
        """Return shapes and dtypes of a batch of `n`."""
        return self.open().struct(n)

    def example_shape(self) -> tuple[int, ...] | None:
        """Return the shape of one example if networks adapt to it, else None."""
        return None

    def num_classes(self) -> int:
        """Return the number of classes; 0 if there are none or it is not known."""
        return 0

    def condition_rows(self) -> PyTree | None:
        """Return conditions of the data: vectors [m, k], or pairs (labels [m], vectors), or None.

        At most `MOST_CONDITIONS` evenly spaced ones; conditions of fakes are drawn from them.
        """
        return None

    def condition_dim(self) -> int:
        """Return the length of condition vectors; 0 without conditions."""
        rows = self.condition_rows()
        return 0 if rows is None else jax.tree.leaves(rows)[-1].shape[1]

    def summary(self) -> tuple[int | None, tuple[str, ...]]:
        """Return the number of examples (None for a distribution) and the class names."""
        data = self.open()
        return data.size, data.class_names

    def with_labels(self) -> DatasetConfig:
        """Return the config of the same data as pairs with class labels.

        Raises:
          UserError: the data have no labels.
        """
        raise UserError(f"{type(self).__name__} has no labels to train features with")

    def at_location(self, location: str) -> DatasetConfig:
        """Return the config of the same data in another folder or at another address.

        Raises:
          UserError: the data have no location.
        """
        raise UserError(f"{type(self).__name__} has no --data-dir")

    def open_samples(self, path: str, units: Units) -> Dataset:
        """Open a file of generated samples of such data, encoded by `units`.

        Raises:
          UserError: samples of such data have no files in units.
        """
        raise UserError(f"{type(self).__name__} has no samples in units")

    def address_to_copy(self) -> str | None:
        """Return the address that `open` would download from; None if all data are local."""
        return None

    def kept_beside(self) -> Path | None:
        """Return the path prefix of files derived from these data; None without a place."""
        return None


class Dataset:
    """An open data set. `real[n, ...]` below is an array, or a pair with labels [n]."""

    @property
    def size(self) -> int | None:
        """Number of examples; None for a distribution, which is unlimited."""
        return None

    @property
    def is_stream(self) -> bool:
        """Whether the host reads `batches`; otherwise the data set itself is a sampler."""
        return False

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes 0, 1, ...; empty if they have none."""
        return ()

    @property
    def label_name(self) -> str:
        """Column name of the labels."""
        return "label"

    @property
    def units(self) -> Units | None:
        """Conversion to the units of the user's data; None if data are used as is."""
        return None

    @property
    def condition_units(self) -> Units | None:
        """Conversion to the units of the conditions; None without conditions."""
        return None

    def in_units(self, units: Units | None) -> Dataset:
        """Return the same data in the units that a run started with; unchanged without units."""
        return self

    def class_labels(self) -> np.ndarray | None:
        """Return the label of each example, int32 [size]; None without labels."""
        return None

    def __call__(self, key: Array, n: int) -> PyTree:
        """Draw `n` samples."""
        return next(self.draws(key, n, 1))

    def struct(self, n: int) -> PyTree:
        """Return shapes and dtypes of a batch of `n`, as networks take it."""
        raise NotImplementedError

    def on_device(self) -> Dataset:
        """Return the data set with its arrays on the default device."""
        return self

    def held_out(self) -> Dataset | None:
        """Return data of the same distribution that no training step sees; None without any."""
        raise NotImplementedError

    def fingerprint(self) -> dict[str, Any] | None:
        """Return what identifies this data set; None if the config alone does."""
        return None

    def draws(self, key: Array, n: int, count: int) -> Iterator[PyTree]:
        """Yield `count` sets of exactly `n` samples in random order; finite data repeat none.

        Raises:
          ValueError: a finite data set holds fewer than `n`.
        """
        raise NotImplementedError

    def sampler(self, key: Array, n: int, count: int) -> Any:
        """Return a sampler for `count` steps of `n` in one compiled program.

        A stream preloads a few batches, chosen by `key`.
        """
        return self

    def batches(
        self, seed: int, batch_size: int, first: int, part: int = 0, parts: int = 1
    ) -> Iterator[PyTree]:
        """Iterate over batches of a stream, read by the host; see `data.stream`."""
        raise TypeError(f"{type(self).__name__} is sampled on the device and not read in batches")


class Distribution(Dataset):
    """A distribution: a callable pytree `(key, n) -> real[n, ...]`, and a sampler of `scan_steps`.

    Every draw is new, so it is its own held-out data.
    """

    def __call__(self, key: Array, n: int) -> PyTree:
        raise NotImplementedError

    def struct(self, n: int) -> PyTree:
        return jax.eval_shape(lambda key: self(key, n), jax.random.key(0))

    def held_out(self) -> Dataset:
        return self

    def draws(self, key: Array, n: int, count: int) -> Iterator[PyTree]:
        # A sampler may return its rows sorted.
        for on_rows, on_order in jax.random.split(key, (count, 2)):
            yield shuffle_rows(on_order, self(on_rows, n))


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Sampled(Distribution):
    """The distribution of a user-supplied sampler."""

    draw: Any

    def __call__(self, key: Array, n: int) -> PyTree:
        return self.draw(key, n)


def as_dataset(data: Dataset | Callable[[Array, int], PyTree]) -> Dataset:
    """Wrap a sampler `(key, n) -> real[n, ...]` as a data set; return data sets unchanged.

    Example:
      >>> as_dataset(lambda key, n: jax.random.normal(key, (n, 2))).struct(3).shape
      (3, 2)
    """
    return data if isinstance(data, Dataset) else Sampled(as_pytree(data))


def fingerprint_of(size: int, leaves: Sequence[Any]) -> dict[str, Any]:
    """Return what identifies a data set of arrays, or of objects indexed like arrays."""
    stride = max(1, -(-sum(x.nbytes for x in leaves) // _DIGESTED_BYTES))
    digest = hashlib.sha256()
    for x in leaves:
        digest.update(f"{x.dtype}{x.shape}".encode())
        digest.update(np.ascontiguousarray(x[::stride]).tobytes())
    return {"size": size, "sha256": digest.hexdigest()}
