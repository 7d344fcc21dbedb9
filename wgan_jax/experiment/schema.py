"""The schema of a run's samples: units, columns and classes of its data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax
import numpy as np

from wgan_jax.data import units as data_units
from wgan_jax.data.array_files import open_array
from wgan_jax.data.dataset import Dataset, DatasetConfig, Units
from wgan_jax.errors import UserError
from wgan_jax.experiment.workdir import has_begun, write_json
from wgan_jax.files import atomic_write, read_file
from wgan_jax.types import PyTree

Arrays = dict[str, np.ndarray]

NAME, CONDITIONS = "schema.json", "conditions.npz"
_MAX_BYTES, _MAX_CLASSES = 2**24, 2**16


@dataclasses.dataclass(frozen=True)
class Schema:
    """Conversion of a generator's values to the units of the user's data.

    Attributes:
      units: units of the samples; None for the raw values of the network.
      class_names: names of the classes 0, 1, ...; empty if only their numbers are known.
      label: name of the label column.
      conditions: units of the condition vectors; None without conditions.
    """

    units: Units | None = None
    class_names: tuple[str, ...] = ()
    label: str = "label"
    conditions: Units | None = None

    @classmethod
    def of(cls, data: Dataset) -> Schema:
        """Return the schema of an open data set."""
        return cls(data.units, data.class_names, data.label_name, data.condition_units)

    def arrays(self, block: Arrays) -> Arrays:
        """Convert a block of samples, with their labels, to the units of the data."""
        if "conditions" in block and self.conditions is not None:
            block = {**block, "conditions": self.conditions.to_units(block["conditions"])}
        if self.units is None:
            return block
        samples = block["samples"]
        # Interpolations have a frame axis after the first axis.
        lead = samples.shape[: samples.ndim - len(self.units.example_shape)]
        flat = samples.reshape(-1, *self.units.example_shape)
        values = self.units.to_units(flat)
        return {**block, "samples": values.reshape(*lead, *values.shape[1:])}

    def columns(self, block: Arrays) -> Arrays:
        """Return a block of points, with their labels, as named columns.

        Raises:
          UserError: the samples are images.
        """
        samples = block["samples"]
        if samples.ndim != 2:
            shape = ", ".join(map(str, samples.shape[1:]))
            raise UserError(f"samples of shape ({shape}) do not fit a table; use .npy or .npz")
        columns = data_units.axes(samples) if self.units is None else self.units.by_column(samples)
        if "labels" in block:
            labels = block["labels"]
            names = np.array(self.class_names, object)[labels] if self.class_names else labels
            columns = {**columns, self.label: names}
        if "conditions" in block and self.conditions is not None:
            columns = {**columns, **self.conditions.by_column(block["conditions"])}
        return columns

    def to_json(self) -> dict[str, Any]:
        return {
            "units": None if self.units is None else self.units.to_json(),
            "class_names": list(self.class_names),
            "label": self.label,
            "conditions": None if self.conditions is None else self.conditions.to_json(),
        }


def save_schema(data: Dataset, rows: PyTree | None, workdir: Path, step: int) -> None:
    """Save the schema of a run that starts, unless it is the default one.

    Args:
      data: open data set of the run.
      rows: its conditions, which `sample` draws from without the data.
      workdir: workdir of the run.
      step: current generator iteration.
    """
    schema, path = Schema.of(data), workdir / NAME
    if step == 0 and schema == Schema():
        path.unlink(missing_ok=True)
    elif schema != Schema() and (step == 0 or not path.exists()):
        write_json(path, schema.to_json())
        if rows is not None:
            _write_rows(rows, workdir / CONDITIONS)


def read_schema(workdir: Path) -> Schema:
    """Read the schema that the run in a workdir started with.

    Raises:
      UserError: the file cannot be read.
    """
    path = workdir / NAME
    try:
        data = json.loads(read_file(path, _MAX_BYTES))
        return _schema(data)
    except FileNotFoundError:
        return Schema()
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): restore it from a copy; without it, samples have "
            f"no units"
        ) from error


def _write_rows(rows: PyTree, path: Path) -> None:
    *labels, vectors = map(np.asarray, jax.tree.leaves(rows))
    arrays = {"vectors": vectors} | ({"labels": labels[0]} if labels else {})
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **arrays)


@dataclasses.dataclass(frozen=True, eq=False)
class RecordedConditions(DatasetConfig):
    """The recorded conditions of a run, in place of its data set."""

    struct_of: PyTree
    rows: PyTree
    shown: int | None

    @property
    def native_size(self) -> int | None:
        return self.shown

    @property
    def labels(self) -> bool:
        return isinstance(self.rows, tuple)

    def struct(self, n: int) -> PyTree:
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct((n, *x.shape), x.dtype), self.struct_of)

    def condition_rows(self) -> PyTree:
        return self.rows


def recorded_conditions(
    schema: Schema, workdir: Path, dataset: DatasetConfig
) -> RecordedConditions | None:
    """Read the conditions that a run recorded in its workdir; None without condition vectors.

    Args:
      schema: schema of the run.
      workdir: workdir of the run.
      dataset: the data set that the conditions are from; it is not opened.

    Raises:
      UserError: the conditions cannot be read or are empty.
    """
    if schema.conditions is None:
        return None
    path = str(workdir / CONDITIONS)
    vectors = open_array(path, "vectors", "vectors")
    width = schema.conditions.example_shape[0]
    is_right = vectors.shape[1:] == (width,) and vectors.dtype == np.float32 and len(vectors)
    rows: PyTree = vectors
    if dataset.labels and is_right:
        classes = open_array(path, "labels", "labels")
        is_right = classes.shape == vectors.shape[:1] and classes.dtype == np.int32
        rows = (classes, vectors)
    if not is_right:
        raise UserError(
            f"{path} holds no conditions of {width} numbers: restore it from a copy; without it, "
            f"there is nothing to condition samples on"
        )
    units = schema.units
    shape = dataset.example_shape() if units is None else units.example_shape
    x = jax.ShapeDtypeStruct(shape or (), np.float32)
    row = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), rows)
    return RecordedConditions((x, row), rows, dataset.native_size)


def saved_schema(workdir: Path) -> Schema | None:
    """Read the schema of the run in a workdir; None if no run has started there."""
    return read_schema(workdir) if has_begun(workdir) else None


def _schema(data: Any) -> Schema:
    if not isinstance(data, dict) or not isinstance(data.get("label"), str):
        raise ValueError("it does not hold a schema")
    names = data.get("class_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its class names are not a list of names")
    if len(names) > _MAX_CLASSES:
        raise ValueError(f"it names {len(names):,} classes")
    units, conditions = (
        None if data.get(name) is None else data_units.from_json(data[name])
        for name in ("units", "conditions")
    )
    return Schema(units, tuple(names), data["label"], conditions)
