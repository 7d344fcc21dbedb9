"""Conditions in a user-supplied file, in the units of the training data of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from wgan_jax.data import table_files
from wgan_jax.data.array_files import SUFFIXES, open_array
from wgan_jax.data.dataset import Units
from wgan_jax.data.remote import expand_user
from wgan_jax.data.rows import classes, require_finite
from wgan_jax.data.table_parts import spelled
from wgan_jax.data.units import ArrayUnits, TableUnits
from wgan_jax.errors import UserError


def read_conditions(
    file: str, units: Units | None, label: str | None, class_names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Read encoded condition vectors [m, k] from a file, and labels [m] if requested.

    Args:
      file: a table with the columns of the conditions, or an array, in their units.
      units: of the conditions.
      label: the column of classes to read as well, or None.
      class_names: of the classes 0, 1, ...

    Raises:
      UserError: the file cannot be read, lacks columns or values, or has unknown ones.
    """
    arrays = SUFFIXES if isinstance(units, ArrayUnits) else ()
    is_array = file.lower().endswith(arrays)
    if not is_array and not table_files.is_table(Path(expand_user(file))):
        forms = ", ".join((*arrays, *table_files.SUFFIXES))
        raise UserError(f"--conditions takes the name of a file, {forms}, got {file}")
    if isinstance(units, ArrayUnits):
        if label is not None:
            raise UserError("--conditions FILE needs --label, the class of all its samples")
        array = open_array(file, None, "--conditions") if is_array else _from_table(file, units)
        array = array[:, None] if array.ndim == 1 else array
        if array.ndim != 2 or array.shape[1:] != units.shape or not len(array):
            raise UserError(
                f"{file} has the shape {list(array.shape)}, but conditions of this run are "
                f"[n, {units.shape[0]}]"
            )
        require_finite(array, file)
        return units.to_numbers(array), None
    assert isinstance(units, TableUnits)
    names = (*units.columns.names, *([] if label is None else [label]))
    codes = [x.name for x in units.columns if x.kind == "category"]
    codes += [] if label is None else [label]
    raw = table_files.read_table(file, names, "--conditions", codes)
    if lacking := [name for name in names if raw[name].missing.any()]:
        raise UserError(f"{file} lacks values of {lacking[0]!r}")
    numbers = {}
    for column in units.columns:
        texts = map(str, spelled(raw[column.name]))
        numbers[column.name] = np.array([column.parse(text) for text in texts])
    if not len(numbers[units.columns.names[0]]):
        raise UserError(f"{file} has no rows")
    if label is None:
        return units.columns.encode(numbers), None
    labels, found = classes(spelled(raw[label]), f"the column {label!r} of {file}")
    strange = sorted(set(found) - set(class_names))
    if strange:
        raise UserError(
            f"{file} has the class {strange[0]!r}; the run has {', '.join(class_names)[:300]}"
        )
    index = np.array([class_names.index(name) for name in found], np.int32)
    return units.columns.encode(numbers), index[labels]


def _from_table(file: str, units: ArrayUnits) -> np.ndarray:
    """Read numbers [n, k] from columns c0, c1, ... of a table, or from its only one if k is 1."""
    raw = table_files.read_table(file, (), "--conditions")
    names = [field["name"] for field in units.fields()]
    if len(raw) == len(names) == 1:
        names = list(raw)
    if absent := [name for name in names if name not in raw]:
        raise UserError(f"{file} has no column {absent[0]!r}, but the conditions are {names}")
    for name in names:
        if raw[name].missing.any() or raw[name].values.dtype.kind not in "biuf":
            raise UserError(f"{file} has rows without a number in {name!r}")
    return np.stack([np.asarray(raw[name].values, np.float64) for name in names], 1)
