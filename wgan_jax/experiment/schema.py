"""What the numbers of a run's samples stand for: units, columns and classes of its data."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from wgan_jax.data import units as data_units
from wgan_jax.data.dataset import Dataset, Units
from wgan_jax.errors import UserError
from wgan_jax.experiment.workdir import has_begun, write_json
from wgan_jax.files import read_file

Arrays = dict[str, np.ndarray]

NAME = "schema.json"
_LARGEST, _MOST_CLASSES = 2**24, 2**16


@dataclasses.dataclass(frozen=True)
class Schema:
    """The way from a generator's numbers to those of the user's data.

    Attributes:
      units: of the samples; None where they are as networks make them.
      class_names: of the classes 0, 1, ...; empty where they are called by their numbers.
      label: name of the column of labels.
    """

    units: Units | None = None
    class_names: tuple[str, ...] = ()
    label: str = "label"

    @classmethod
    def of(cls, data: Dataset) -> Schema:
        """That of an open data set."""
        return cls(data.units, data.class_names, data.label_name)

    def arrays(self, block: Arrays) -> Arrays:
        """A block of samples with their labels, in units."""
        if self.units is None:
            return block
        samples = block["samples"]
        # Walks have an axis of frames behind the first.
        lead = samples.shape[: samples.ndim - len(self.units.example_shape)]
        flat = samples.reshape(-1, *self.units.example_shape)
        values = self.units.to_units(flat)
        return {**block, "samples": values.reshape(*lead, *values.shape[1:])}

    def columns(self, block: Arrays) -> Arrays:
        """A block of points with their labels as columns by name.

        Raises:
          UserError: samples are images.
        """
        samples = block["samples"]
        if samples.ndim != 2:
            shape = ", ".join(map(str, samples.shape[1:]))
            raise UserError(f"samples of shape ({shape}) make no table; use .npy or .npz")
        columns = data_units.axes(samples) if self.units is None else self.units.by_column(samples)
        if "labels" in block:
            labels = block["labels"]
            names = np.array(self.class_names, object)[labels] if self.class_names else labels
            columns = {**columns, self.label: names}
        return columns

    def to_json(self) -> dict[str, Any]:
        return {
            "units": None if self.units is None else self.units.to_json(),
            "class_names": list(self.class_names),
            "label": self.label,
        }


def save_schema(data: Dataset, workdir: Path, step: int) -> None:
    """Keep the schema of a run that begins, where there is anything to be told."""
    schema, path = Schema.of(data), workdir / NAME
    if step == 0 and schema == Schema():
        path.unlink(missing_ok=True)
    elif schema != Schema() and (step == 0 or not path.exists()):
        write_json(path, schema.to_json())


def read_schema(workdir: Path) -> Schema:
    """The schema that the run in a workdir began with.

    Raises:
      UserError: it cannot be read.
    """
    path = workdir / NAME
    try:
        data = json.loads(read_file(path, _LARGEST))
        return _schema(data)
    except FileNotFoundError:
        return Schema()
    except (OSError, ValueError, TypeError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): put a copy of it back, without which samples have "
            f"no units"
        ) from error


def saved_schema(workdir: Path) -> Schema | None:
    """The schema of the run in a workdir; None where none has begun."""
    return read_schema(workdir) if has_begun(workdir) else None


def _schema(data: Any) -> Schema:
    if not isinstance(data, dict) or not isinstance(data.get("label"), str):
        raise ValueError("it holds no schema")
    names = data.get("class_names")
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError("its class names are no list of names")
    if len(names) > _MOST_CLASSES:
        raise ValueError(f"it names {len(names):,} classes")
    units = data.get("units")
    return Schema(
        None if units is None else data_units.from_json(units), tuple(names), data["label"]
    )
