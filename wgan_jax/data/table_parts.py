"""Tables in two parts, one for training and one held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wgan_jax.data.dataset import HELD_OUT, TRAIN
from wgan_jax.data.remote import expand_user
from wgan_jax.data.saved_sets import is_saved_set
from wgan_jax.data.table_files import SUFFIXES, RawColumn, flags_or_text, is_table
from wgan_jax.errors import UserError


def parts_of(path: str) -> tuple[str, str | None]:
    """Return the table to train on, and the held-out one or None.

    A folder has two parts if it holds a table called train and another called test (or
    validation): files such as train.csv, or the splits of a `datasets` data set.

    Example:
      >>> parts_of("people.csv")
      ('people.csv', None)
    """
    folder = Path(expand_user(path))
    try:
        if not folder.is_dir() or is_saved_set(folder):
            return path, None
        tables = {_stem(file): str(file) for file in sorted(folder.iterdir()) if is_table(file)}
    except OSError:  # reported when the table is read
        return path, None
    held_out = next((tables[name] for name in HELD_OUT if name in tables), None)
    return (tables[TRAIN], held_out) if TRAIN in tables and held_out else (path, None)


def _stem(path: Path) -> str:
    name = path.name.lower()
    return next((name.removesuffix(end) for end in SUFFIXES if name.endswith(end)), name)


def join(
    first: dict[str, RawColumn], second: dict[str, RawColumn], where: str
) -> dict[str, RawColumn]:
    """Concatenate the rows of two tables without missing values.

    Raises:
      UserError: their columns differ, or hold text in one and numbers in the other.
    """
    if alone := sorted(first.keys() ^ second.keys()):
        which = "training" if alone[0] in first else "held-out"
        raise UserError(
            f"of the two parts of {where}, only the {which} one has a column {alone[0]!r}: select "
            f"the columns that both have with --dataset.columns"
        )
    return {name: _joined(column, second[name], name, where) for name, column in first.items()}


def _joined(a: RawColumn, b: RawColumn, name: str, where: str) -> RawColumn:
    values = [spelled(a), spelled(b)]
    kinds = {x.dtype.kind for x in values}
    if len(kinds) > 1 and not kinds <= {"i", "f"}:
        raise UserError(
            f"the column {name!r} holds {_words(values[0])} in the training part of {where}, and "
            f"{_words(values[1])} in the held-out one"
        )
    both = np.concatenate(values)
    missing = np.zeros(len(both), bool)
    # A part with a single flag value does not know how the other value is spelled.
    return flags_or_text(both.tolist(), missing) if kinds == {"O"} else RawColumn(both, missing)


def spelled(column: RawColumn) -> np.ndarray:
    """Return the values of a column, with flags spelled as in the file."""
    if not column.spelling:
        return column.values
    return np.array(column.spelling, object)[column.values.astype(int)]


def _words(x: np.ndarray) -> str:
    return {"O": "text", "b": "flags"}.get(x.dtype.kind, "numbers")
