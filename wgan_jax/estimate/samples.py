"""Conversion of arrays, tables, and sparse or masked samples to numeric arrays."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

_MAX_VALUES = 1 << 31  # of a sparse matrix that is converted to dense
_LARGE_SHARE = 0.95  # of the squared distance, for one column
_FEW_COLUMNS, _FEW_VALUES = 32, 20  # of a table that may hold categories


class Samples(NamedTuple):
    """Rows [n, ...] and, if they come from a table, the names of its columns."""

    x: np.ndarray
    columns: tuple[str, ...] = ()


def as_samples(source: Any, name: str) -> Samples:
    """Convert the argument `name` to an array of any dtype.

    Raises:
      ValueError: it has masked or missing values, or cannot be converted to an array.
    """
    if not isinstance(source, np.ndarray):
        if hasattr(source, "to_numpy") and hasattr(source, "columns"):
            return _table(source, name)
        if hasattr(source, "X") and hasattr(source, "obs"):  # AnnData
            x, names = as_samples(source.X, name).x, tuple(map(str, source.var_names))
            return Samples(x, names)
        source = _dense(source, name)
    rows = source if isinstance(source, list | tuple) else [source]
    try:
        # np.asarray would drop the masks of masked rows.
        x = np.ma.array(source) if any(map(np.ma.isMaskedArray, rows)) else np.asarray(source)
    except Exception as error:  # each container type raises its own
        raise ValueError(
            f"{name} is a {_kind(source)}, which cannot be converted to one array [n, ...]: {error}"
        ) from error
    if isinstance(x, np.ma.MaskedArray):
        mask = np.ascontiguousarray(np.ma.getmaskarray(x)).view(np.bool_)
        if masked := np.count_nonzero(mask):
            raise ValueError(
                f"{name} has {masked} masked values; drop their rows first, for instance by "
                "np.ma.compress_rows, or fill them in"
            )
        x = x.data
    if x.ndim == 0:
        raise ValueError(
            f"{name} is one {_kind(source)}; give an array of samples [n, ...] or a sampler "
            "(key, n) -> x[n, ...]"
        )
    if x.dtype.names:
        return _columns([(field, x[field]) for field in x.dtype.names], name)
    return Samples(x)


def _dense(source: Any, name: str) -> Any:
    """Convert torch tensors and sparse matrices to types that NumPy accepts."""
    if hasattr(source, "detach"):  # torch
        source = source.detach().cpu()
        return source.float() if str(source.dtype) == "torch.bfloat16" else source
    if not hasattr(source, "todense"):
        return source
    if math.prod(source.shape) > _MAX_VALUES:
        raise ValueError(
            f"{name} is a sparse matrix of shape {source.shape}, too large to be made dense; "
            "project it to fewer columns first"
        )
    return source.todense()


def as_numbers(x: np.ndarray, name: str) -> np.ndarray:
    """Convert to a floating-point array; booleans and integers become numbers.

    Raises:
      ValueError: it holds complex numbers, text, dates or objects.
    """
    if x.dtype == object and all(isinstance(v, numbers.Real | np.bool_) for v in x.flat):
        return x.astype(np.float64)
    require_numbers(x, name)
    return x if jnp.issubdtype(x.dtype, jnp.floating) else x.astype(np.float64)


def require_numbers(x: Any, name: str) -> None:
    """Raise unless the dtype is that of real numbers.

    Raises:
      ValueError: the kind of values, and what to do.
    """
    dtype = x.dtype
    kind = getattr(dtype, "kind", "V")
    what = f"{dtype} of shape {x.shape}"
    if kind in "mM":  # first, since NumPy counts durations as integers
        raise ValueError(f"{name} holds dates or times, {what}; convert them to numbers in a unit")
    if any(jnp.issubdtype(dtype, real) for real in (jnp.floating, jnp.integer, jnp.bool_)):
        return
    if jnp.issubdtype(dtype, jnp.complexfloating):
        raise ValueError(
            f"{name} must hold real numbers, got {what}; give real and imaginary parts as two "
            "columns, np.stack([x.real, x.imag], -1)"
        )
    if kind in "OUST":
        value = next((v for v in x.flat if not isinstance(v, numbers.Real)), "text")
        raise ValueError(
            f"{name} holds {_kind(value)} among its values, {what}; drop missing values, and "
            "encode categories as one-hot columns, for instance by pandas.get_dummies"
        )
    raise ValueError(f"{name} must hold real numbers, got {what}")


def _table(frame: Any, name: str) -> Samples:
    """Convert the columns of a pandas or polars data frame."""
    if hasattr(frame, "items"):
        return _columns(list(frame.items()), name)
    return _columns([(column, frame[column]) for column in frame.columns], name)


def _columns(columns: Sequence[tuple[Any, Any]], name: str) -> Samples:
    arrays = []
    for column, values in columns:
        where = f"column {str(column)!r} of {name}"
        if (
            str(getattr(values, "dtype", ""))
            .lower()
            .startswith(("category", "categorical", "enum"))
        ):
            raise ValueError(
                f"{where} holds categories; encode them as one-hot columns, for instance by "
                "pandas.get_dummies"
            )
        x = as_numbers(np.asarray(values), where)
        arrays.append(x.reshape(len(x), math.prod(x.shape[1:])).astype(np.float64))
    x = np.concatenate(arrays, axis=1) if arrays else np.zeros((0, 0))
    names = tuple(str(column) for column, _ in columns)
    return Samples(x, names if len(names) == x.shape[1] else ())


def _kind(value: Any) -> str:
    return type(value).__name__


def notes_on(p: Samples, q: Samples) -> tuple[str, ...]:
    """Warnings about the columns of two tables [n, d] that affect their distance."""
    if p.x.ndim > 2:
        return ()
    x, y = (z.x.reshape(len(z.x), -1).astype(np.float64) for z in (p, q))
    names = p.columns or q.columns or tuple(map(str, range(x.shape[1])))
    one = x[:1]  # so that constant columns have no variance from rounding
    return tuple(filter(None, [_heavy_column(x - one, y - one, names), _categories(x, y, names)]))


def _heavy_column(x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> str:
    squares = x.var(0) + y.var(0) + (x.mean(0) - y.mean(0)) ** 2
    total = float(squares.sum())
    column = int(squares.argmax())
    if len(squares) < 2 or total == 0 or squares[column] < _LARGE_SHARE * total:
        return ""
    return (
        f"column {names[column]} makes up {squares[column] / total:.1%} of the squared distance "
        "between rows of p and q, so W1 hardly depends on the others; if columns have different "
        "units, divide each by its standard deviation"
    )


def _categories(x: np.ndarray, y: np.ndarray, names: Sequence[str]) -> str:
    if x.shape[1] > _FEW_COLUMNS:
        return ""
    few = []
    for i, name in enumerate(names):
        values = np.unique(np.concatenate([x[:, i], y[:, i]]))
        if 2 < len(values) <= _FEW_VALUES and (values == np.round(values)).all():
            few.append(name)
    if not few:
        return ""
    which, hold = ("column", "holds") if len(few) == 1 else ("columns", "hold")
    return (
        f"{which} {', '.join(few)} {hold} few distinct integers; if they stand for categories, "
        "encode them as one-hot columns: to W1, 0 is closer to 1 than to 2"
    )
