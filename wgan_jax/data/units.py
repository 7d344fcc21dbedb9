"""Conversion between the encoded examples of the networks and the units of the user's data."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from wgan_jax.data.columns import Column, Columns, chosen, moments, shortest
from wgan_jax.types import Array

_MOST_VALUES = 2**20
_DTYPES = {"bool", "float16", "float32", "float64", np.dtype(np.longdouble).name}
_DTYPES |= {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}


@dataclasses.dataclass(frozen=True)
class TableUnits:
    """Units of a table, one for each column.

    Attributes:
      columns: the columns and their encoding.
    """

    columns: Columns

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one encoded example."""
        return (self.columns.width,)

    @property
    def scale(self) -> None:
        """None: distances between encoded rows have no common unit."""
        return None

    def to_units(self, x: np.ndarray) -> np.ndarray:
        """Decode rows [n, width] into a structured array [n] with a field for each column."""
        decoded = self.columns.decode(x)
        dtype = [(name, values.dtype) for name, values in decoded.items()]
        rows = np.empty(len(x), dtype)
        for name, values in decoded.items():
            rows[name] = values
        return rows

    def as_written(self, x: np.ndarray) -> np.ndarray:
        """Return encoded rows [n, width] as a sample file leaves them: categories one-hot."""
        parts = self.columns.split(x)
        return self.columns.encode({column.name: column.numbers(part) for column, part in parts})

    def by_column(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Decode rows [n, width] into values by column name."""
        return self.columns.decode(x)

    def encode_value(self, name: str, text: str) -> tuple[slice, np.ndarray]:
        names = self.columns.names
        chosen([name], names, "--condition", "the run")
        i = names.index(name)
        column, end = self.columns.columns[i], int(self.columns.ends[i])
        return slice(end - column.width, end), column.encode(np.array([column.parse(text)]))[0]

    def covering(self, x: np.ndarray) -> TableUnits:
        """Return the units whose decoding keeps rows [n, width] with values unlike the data's."""
        return TableUnits(Columns(tuple(c.covering(part) for c, part in self.columns.split(x))))

    def standardized(self) -> list[tuple[str, int, float, float]]:
        """Return name, index in an encoded row, center and scale of each column but categories."""
        return [
            (column.name, int(end) - 1, column.center, column.scale)
            for column, end in zip(self.columns, self.columns.ends, strict=True)
            if column.kind != "category"
        ]

    def decode_traced(self, x: Array) -> Array:
        """As `to_units`, but traceable: float32 [n, columns], categories by index."""
        parts = zip(self.columns, jnp.split(x, self.columns.ends[:-1], axis=1), strict=True)
        return jnp.stack([_decode_traced(column, part) for column, part in parts], 1)

    def encode_traced(self, values: Array) -> Array:
        """Encode rows [n, width] in units, whose categories are one-hot already; traceable."""
        per_number = [
            (0.0, 1.0) if column.kind == "category" else (column.center, column.scale)
            for column in self.columns
            for _ in range(column.width)
        ]
        center, scale = np.array(per_number, np.float32).T
        return (values - center[None]) / scale[None]

    def fields(self) -> list[dict[str, Any]]:
        """Return name, kind and values of each column as JSON values."""
        return [
            {"name": c.name, "kind": c.kind} | ({"values": list(c.values)} if c.values else {})
            for c in self.columns
        ]

    def to_json(self) -> dict[str, Any]:
        return {"columns": self.columns.to_json()}


@dataclasses.dataclass(frozen=True)
class ArrayUnits:
    """Units of points [n, d], or of images that are scaled to [-1, 1].

    Attributes:
      center, scales: for each axis, or one for all: `x = (value - center) / scale`.
      dtype: of the array in the file.
      shape: of one example in the file: [d], [h, w] or [h, w, c].
      prefix: of the column names, which are numbered.
    """

    center: tuple[float, ...]
    scales: tuple[float, ...]
    dtype: str
    shape: tuple[int, ...]
    prefix: str = "x"

    @property
    def example_shape(self) -> tuple[int, ...]:
        """Shape of one encoded example; images always have a channel axis."""
        return (*self.shape, 1) if len(self.shape) == 2 else self.shape

    @property
    def scale(self) -> float | None:
        """Factor from distances between encoded points to units; None if each axis has its own.

        Distances between images are those of pixels in [-1, 1].
        """
        return self.scales[0] if len(set(self.scales)) == 1 and len(self.shape) == 1 else None

    def to_numbers(self, x: np.ndarray) -> np.ndarray:
        """Encode values of the file for the networks."""
        center, scales = (np.array(v, np.float64) for v in (self.center, self.scales))
        with np.errstate(over="ignore"):  # the caller checks for infinity
            return ((np.asarray(x, np.float64) - center) / scales).astype(np.float32)

    def to_units(self, x: np.ndarray) -> np.ndarray:
        """Decode examples to the values and dtype of the file; integers are rounded and clipped."""
        center, scales = (np.array(v, np.float64) for v in (self.center, self.scales))
        values, dtype = x.astype(np.float64) * scales + center, np.dtype(self.dtype)
        values = values.reshape(len(x), *self.shape)
        if dtype.kind == "b":
            return values > 0.5
        if dtype.kind == "f" and self.prefix == "c":
            values = self._requested(x)
        if dtype.kind in "iu":
            info = np.iinfo(dtype)
            # float64 has no number between 2^63 - 1024 and 2^63.
            high = np.nextafter(float(info.max), 0) if info.bits > 52 else info.max
            values = np.clip(np.rint(values), info.min, high)
        return values.astype(dtype)

    def decode_traced(self, x: Array) -> Array:
        """As `to_units`, but traceable: floats and 64-bit integers as float32."""
        lead = (1,) * (x.ndim - 1)
        center, scales = (
            np.array(v, np.float32).reshape(*lead, -1) for v in (self.center, self.scales)
        )
        values, dtype = x * scales + center, np.dtype(self.dtype)
        values = values.reshape(x.shape[0], *self.shape)
        if dtype.kind == "b":
            return values > 0.5
        if dtype.kind not in "iu":
            return values
        values = jnp.rint(values)
        if dtype.itemsize > 4:
            return values
        info = np.iinfo(dtype)
        # Clip to a float32 in range: the largest int32 rounds up to one out of range.
        high = np.float32(info.max)
        high = high if float(high) <= info.max else np.nextafter(high, np.float32(0))
        return jnp.clip(values, np.float32(info.min), high).astype(dtype)

    def encode_traced(self, values: Array) -> Array:
        """Encode points [n, d] in units; traceable."""
        center, scales = (np.array([v], np.float32) for v in (self.center, self.scales))
        return (values - center) / scales

    def fields(self) -> list[dict[str, Any]]:
        """Return name and kind of each axis of points as JSON values; empty for images."""
        kinds = {"b": "flag", "i": "integer", "u": "integer"}
        kind = kinds.get(np.dtype(self.dtype).kind, "number")
        axes = range(self.shape[0]) if len(self.shape) == 1 else ()
        return [{"name": f"{self.prefix}{i}", "kind": kind} for i in axes]

    def covering(self, x: np.ndarray) -> ArrayUnits:
        """Return these units, in float64 if conditions [n, d] have values that the dtype lacks."""
        dtype = np.dtype(self.dtype)
        if dtype.kind not in "biu":
            return self
        low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        x = self._requested(x)
        is_kept = not (x % 1).any() and low <= x.min() and x.max() <= high
        return self if is_kept else dataclasses.replace(self, dtype="float64")

    def _requested(self, x: np.ndarray) -> np.ndarray:
        """Decode conditions [n, d] to what was asked for."""
        each = zip(x.T, self.center, self.scales, strict=True)
        return np.stack([shortest(*column) for column in each], 1)

    def standardized(self) -> list[tuple[str, int, float, float]]:
        """Return name, index in an encoded row, center and scale of each axis of points."""
        names = [field["name"] for field in self.fields()]
        return list(zip(names, range(len(names)), self.center, self.scales, strict=True))

    def as_written(self, x: np.ndarray) -> np.ndarray:
        """Return encoded examples [n, ...] as a sample file leaves them, integers rounded."""
        return self.to_numbers(self.to_units(x)).reshape(x.shape)

    def by_column(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Decode points [n, d] into values by axis name, x0, x1, ..."""
        return axes(self.to_units(x), self.prefix)

    def encode_value(self, name: str, text: str) -> tuple[slice, np.ndarray]:
        names = [f"{self.prefix}{i}" for i in range(self.shape[0])]
        chosen([name], names, "--condition", "the run")
        i = names.index(name)
        value = Column(name, center=self.center[i], scale=self.scales[i])
        return slice(i, i + 1), value.encode(np.array([value.parse(text)]))[0]

    def to_json(self) -> dict[str, Any]:
        return {key: list(v) if isinstance(v, tuple) else v for key, v in vars(self).items()}


def _decode_traced(column: Column, x: Array) -> Array:
    """Decode one column [n, width] to its unit, float32 [n]."""
    if column.kind == "category":
        return jnp.argmax(x, 1).astype(jnp.float32)
    values = x[:, 0] * np.float32(column.scale) + np.float32(column.center)
    if column.kind == "number":
        is_constant = column.low >= column.high
        return jnp.full_like(values, column.center) if is_constant else values
    return jnp.clip(jnp.rint(values), np.float32(column.low), np.float32(column.high))


def standardizing(array: np.ndarray, rows: np.ndarray, prefix: str = "x") -> ArrayUnits:
    """Fit units in which each column of `array` [n, d] has mean 0 and variance 1 over `rows`."""
    columns = [moments(array[rows, i]) for i in range(array.shape[1])]
    center, scales = zip(*columns, strict=True)
    return ArrayUnits(center, scales, array.dtype.name, array.shape[1:], prefix)


def axes(points: np.ndarray, prefix: str = "x") -> dict[str, np.ndarray]:
    """Return points [n, d] as values by axis name, x0, x1, ..."""
    return {f"{prefix}{i}": values for i, values in enumerate(points.T)}


def from_json(data: Any) -> TableUnits | ArrayUnits:
    """Restore units from the values of `to_json`.

    Raises:
      ValueError: the values, which may be untrusted, are invalid.
    """
    if not isinstance(data, dict):
        raise ValueError("they are not an object")
    if data.keys() == {"columns"}:
        return TableUnits(Columns.from_json(data["columns"]))
    if data.keys() != {"center", "scales", "dtype", "shape", "prefix"}:
        raise ValueError("they have other fields")
    lists = [data[name] for name in ("center", "scales", "shape")]
    if not all(isinstance(x, list) and len(x) <= _MOST_VALUES for x in lists):
        raise ValueError("they have a field of another kind")
    center, scales, shape = lists
    numbers = [x for x in center + scales if type(x) in (int, float) and math.isfinite(x)]
    if len(numbers) != len(center) + len(scales) or len(center) != len(scales) or not center:
        raise ValueError("they have other numbers")
    if min(scales) <= 0 or not all(type(n) is int and 0 < n < 2**20 for n in shape):
        raise ValueError("they have numbers that are out of range")
    if len(shape) not in (1, 2, 3) or len(center) not in (1, shape[-1]):
        raise ValueError("they are of another shape")
    if data["dtype"] not in _DTYPES or data["prefix"] not in ("x", "c"):
        raise ValueError("they have an unknown dtype or prefix")
    return ArrayUnits(
        tuple(map(float, center)),
        tuple(map(float, scales)),
        data["dtype"],
        tuple(shape),
        data["prefix"],
    )
