"""Columns of a table: encoded as numbers for networks, and decoded into their own units."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from wgan_jax.errors import UserError

Kind = Literal["number", "integer", "flag", "category"]
_KINDS = ("number", "integer", "flag", "category")
_MOST_CATEGORIES, _MOST_WIDTH = 1_000, 2**16


@dataclasses.dataclass(frozen=True)
class Column:
    """One column and the encoding of its values.

    Attributes:
      name: of the column.
      kind: numbers, integers and flags are standardized, `(x - center) / scale`; categories are
        one-hot encoded.
      center, scale: mean and standard deviation of the training data.
      low, high: range of the data, to which decoded integers are clipped.
      values: the values of a category, or the spellings of false and true of a flag.
    """

    name: str
    kind: Kind = "number"
    center: float = 0.0
    scale: float = 1.0
    low: float = -math.inf
    high: float = math.inf
    values: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        return len(self.values) if self.kind == "category" else 1

    @classmethod
    def fit(cls, name: str, kind: Kind, x: np.ndarray, values: tuple[str, ...] = ()) -> Column:
        """Fit a column to `x`: numbers [n], or indices into the values of a category."""
        if kind == "category":
            return cls(name, kind, values=values)
        center, scale = moments(x)
        return cls(name, kind, center, scale, float(x.min()), float(x.max()), values)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Encode numbers [n] as float32 [n, width]."""
        if self.kind == "category":
            return np.eye(self.width, dtype=np.float32)[x.astype(int)]
        return ((x.astype(np.float64) - self.center) / self.scale).astype(np.float32)[:, None]

    def numbers(self, encoded: np.ndarray) -> np.ndarray:
        """Invert `encode`, to the nearest valid number: [n, width] to [n] in float64."""
        if self.kind == "category":
            return encoded.argmax(1).astype(np.float64)
        x = encoded[:, 0].astype(np.float64) * self.scale + self.center
        if self.kind == "number":
            return x if self.low < self.high else np.full_like(x, self.center)
        return np.clip(np.rint(x), self.low, self.high)

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        """Return values [n] as in the table: floats, integers, booleans or strings."""
        x = self.numbers(encoded)
        if self.kind == "number":
            # float32 has about 7 digits, so decimals after the eighth are noise.
            decimals = 7 - math.floor(math.log10(self.scale))
            return x.round(decimals) if abs(decimals) < 16 else x
        if self.values:
            return np.array(self.values)[x.astype(int)]
        if self.kind == "flag":
            return x.astype(bool)
        # float64 has no number between 2^63 - 1024 and 2^63, which is no int64.
        return np.minimum(x, np.nextafter(2.0**63, 0)).astype(np.int64)

    def covering(self, encoded: np.ndarray) -> Column:
        """Return the column that decodes `encoded` to what was asked for, as few digits as it has.

        Unlike samples, these may lie out of the range of the data, or between integers.
        """
        if self.kind in ("category", "flag"):
            return self
        x = shortest(encoded[:, 0], self.center, self.scale)
        if self.kind == "number" or (x % 1).any():
            return _Requested(self.name, "number", self.center, self.scale)
        low, high = min(self.low, float(x.min())), max(self.high, float(x.max()))
        return dataclasses.replace(self, low=low, high=high)

    def parse(self, text: str) -> float:
        """Parse text into the number that `encode` takes.

        Raises:
          UserError: it is not a value of this column.
        """
        if self.kind == "category":
            if text not in self.values:
                raise UserError(
                    f"{self.name} has no value {text!r}; known: {', '.join(self.values)[:200]}"
                )
            return float(self.values.index(text))
        if self.kind == "flag" and text.lower() in ("false", "true"):
            return float(text.lower() == "true")
        try:
            x = float(text)
        except ValueError:
            x = math.nan
        if not math.isfinite(x):
            raise UserError(f"{self.name} takes a number, got {text!r}")
        return x


@dataclasses.dataclass(frozen=True)
class _Requested(Column):
    """A column of conditions, whose values are not rounded like those of samples."""

    def decode(self, encoded: np.ndarray) -> np.ndarray:
        return shortest(encoded[:, 0], self.center, self.scale)


@dataclasses.dataclass(frozen=True)
class Columns:
    """The columns of a data set of points.

    Example:
      >>> import numpy as np
      >>> age = Column.fit("age", "integer", np.array([30.0, 40.0, 50.0]))
      >>> columns = Columns((age, Column("pet", "category", values=("cat", "dog"))))
      >>> encoded = columns.encode({"age": np.array([40]), "pet": np.array([1])})
      >>> encoded.tolist()
      [[0.0, 0.0, 1.0]]
      >>> {name: values.tolist() for name, values in columns.decode(encoded).items()}
      {'age': [40], 'pet': ['dog']}
    """

    columns: tuple[Column, ...]

    def __iter__(self):
        return iter(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def width(self) -> int:
        return sum(column.width for column in self.columns)

    def encode(self, table: Mapping[str, np.ndarray]) -> np.ndarray:
        """Encode numbers by column name as float32 [n, width]."""
        return np.concatenate([c.encode(np.asarray(table[c.name])) for c in self.columns], 1)

    @property
    def ends(self) -> np.ndarray:
        """Where each column ends in an encoded row."""
        return np.cumsum([column.width for column in self.columns])

    def split(self, encoded: np.ndarray) -> list[tuple[Column, np.ndarray]]:
        """Return each column with its part [n, width] of encoded rows."""
        return list(zip(self.columns, np.split(encoded, self.ends[:-1], axis=1), strict=True))

    def decode(self, encoded: np.ndarray) -> dict[str, np.ndarray]:
        """Decode rows [n, width] into values by column name."""
        return {column.name: column.decode(part) for column, part in self.split(encoded)}

    def to_json(self) -> list[dict[str, Any]]:
        """Return the columns as JSON values."""
        return [
            {key: list(v) if isinstance(v, tuple) else v for key, v in vars(column).items()}
            | {key: None for key in ("low", "high") if not math.isfinite(vars(column)[key])}
            for column in self.columns
        ]

    @classmethod
    def from_json(cls, data: Any) -> Columns:
        """Restore columns from the values of `to_json`.

        Raises:
          ValueError: the values, which may be untrusted, are invalid.
        """
        if not isinstance(data, list) or not data:
            raise ValueError("they list no columns")
        columns = cls(tuple(_column(fields) for fields in data))
        if columns.width > _MOST_WIDTH or len(set(columns.names)) != len(columns.names):
            raise ValueError("they are too many, or two share a name")
        return columns


def _column(data: Any) -> Column:
    if not isinstance(data, dict) or data.keys() != Column.__dataclass_fields__.keys():
        raise ValueError("a column has other fields")
    low, high = data["low"], data["high"]
    low, high = (-math.inf if low is None else low), (math.inf if high is None else high)
    numbers, values = (data["center"], data["scale"], low, high), data["values"]
    is_known = data["kind"] in _KINDS and isinstance(data["name"], str)
    if not is_known or not all(type(x) in (int, float) and x == x for x in numbers):
        raise ValueError("a column has a field of another kind")
    if not math.isfinite(data["center"]) or not 0 < data["scale"] < math.inf or not low <= high:
        raise ValueError(f"the column {data['name']!r} has numbers that are out of range")
    texts = isinstance(values, list) and all(isinstance(value, str) for value in values)
    counts = {"category": range(1, _MOST_CATEGORIES + 1), "flag": (0, 2)}.get(data["kind"], (0,))
    if not texts or len(values) not in counts:
        raise ValueError(f"the column {data['name']!r} has other values")
    center, scale = float(data["center"]), float(data["scale"])
    return Column(data["name"], data["kind"], center, scale, float(low), float(high), tuple(values))


def require_few_categories(name: str, count: int) -> None:
    """Refuse a category with too many values for one-hot encoding.

    Raises:
      UserError: it has more than a thousand.
    """
    if count > _MOST_CATEGORIES:
        raise UserError(
            f"the column {name!r} has {count:,} different values, but a category has at most "
            f"{_MOST_CATEGORIES:,}: leave it out of --dataset.one-hot and --dataset.columns"
        )


def shortest(encoded: np.ndarray, center: float, scale: float) -> np.ndarray:
    """Decode numbers [n] to the fewest decimals that float32 cannot tell from them.

    Example:
      >>> import numpy as np
      >>> encoded = ((np.array([20, 30.7]) - 50) / 24.5).astype(np.float32)
      >>> shortest(encoded, 50, 24.5).tolist()
      [20.0, 30.7]
    """
    encoded = encoded.astype(np.float64)
    x = encoded * scale + center
    error = 2**-23 * scale * np.maximum(1, np.abs(encoded)) + 4 * np.spacing(abs(center))
    first = -math.floor(math.log10(scale)) - 1
    out, is_open = x.copy(), np.ones(x.shape, bool)
    for decimals in range(max(first, -300), min(first + 10, 300)):
        rounded = x.round(decimals)
        is_near = is_open & (np.abs(rounded - x) <= error)
        out[is_near], is_open = rounded[is_near], is_open & ~is_near
    return out


def moments(x: np.ndarray) -> tuple[float, float]:
    """Return mean and standard deviation (1 for a constant) without overflow.

    Example:
      >>> import numpy as np
      >>> moments(np.array([0, 2e300]))
      (1e+300, 1e+300)
      >>> moments(np.array([7, 7]))
      (7.0, 1.0)
    """
    x = np.asarray(x, np.float64)
    peak = float(np.abs(x).max()) or 1.0
    center, scale = float((x / peak).mean() * peak), float((x / peak).std() * peak)
    # A deviation this small is rounding error of equal numbers.
    return center, scale if scale > 1e-14 * peak and scale > 1e-300 else 1.0


def chosen(names: Sequence[str], known: Sequence[str], option: str, where: str) -> None:
    """Refuse names of columns that do not exist.

    Raises:
      UserError: one does not; suggests the closest known name.
    """
    import difflib

    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(known)[:300]}"
            raise UserError(f"{option} names a column {name!r}, but {where} has none: {hint}")
