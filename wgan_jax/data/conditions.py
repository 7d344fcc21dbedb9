"""Conditions in a file of the user's, in the units of the data that a run was trained on."""

from __future__ import annotations

import numpy as np

from wgan_jax.data.array_files import SUFFIXES, open_array
from wgan_jax.data.dataset import Units
from wgan_jax.data.rows import require_finite
from wgan_jax.data.table_files import read_table
from wgan_jax.data.units import ArrayUnits, TableUnits
from wgan_jax.errors import UserError


def read_conditions(
    file: str, units: Units | None, label: str | None, class_names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Vectors [m, k] of a file as networks take them, and labels [m] where they are asked for.

    Args:
      file: in the units of the conditions: a table with their columns, or an array.
      units: of the conditions.
      label: the column of classes to read as well; None for none.
      class_names: of the classes 0, 1, ...

    Raises:
      UserError: the file cannot be read, lacks columns or values, or holds other ones.
    """
    if isinstance(units, ArrayUnits):
        if label is not None:
            raise UserError("--conditions FILE needs --label, the class of all of its samples")
        if not file.endswith(SUFFIXES):
            raise UserError(f"--conditions takes {', '.join(SUFFIXES)} for this run, got {file}")
        array = open_array(file, None, "--conditions")
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1:] != units.shape or not len(array):
            raise UserError(
                f"{file} has the shape {list(array.shape)}, and conditions of this run are "
                f"[n, {units.shape[0]}]"
            )
        require_finite(array, file)
        return units.to_numbers(array), None
    assert isinstance(units, TableUnits)
    names = (*units.columns.names, *([] if label is None else [label]))
    raw = read_table(file, names, "--conditions")
    numbers = {}
    for column in units.columns:
        if raw[column.name].missing.any():
            raise UserError(f"{file} lacks values of {column.name!r}")
        texts = (str(value) for value in raw[column.name].values)
        numbers[column.name] = np.array([column.parse(text) for text in texts])
    if not len(numbers[units.columns.names[0]]):
        raise UserError(f"{file} has no row")
    if label is None:
        return units.columns.encode(numbers), None
    labels, known = raw[label].values.astype(str), list(class_names)
    strange = sorted(set(labels) - set(known))
    if strange:
        raise UserError(
            f"{file} has the class {strange[0]!r}; the run has {', '.join(known)[:300]}"
        )
    return units.columns.encode(numbers), np.array([known.index(x) for x in labels], np.int32)
