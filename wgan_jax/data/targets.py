"""Labels and conditions of the images of a prepared data set, by the names of their features."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wgan_jax.data.columns import Column, Columns, require_few_categories
from wgan_jax.data.labels import class_labels
from wgan_jax.data.records import open_source, scalars_of
from wgan_jax.data.tfds import Scalar
from wgan_jax.errors import UserError
from wgan_jax.types import PyTree

_BLOCK = 1_000  # records that are read at a time
_FLAG = ("false", "true")


class Targets(NamedTuple):
    """What the images of a split are to be conditioned on.

    Attributes:
      label: the feature of classes; None without labels.
      conditions: the features that make up vectors of conditions.
      values: [n] for each feature.
    """

    label: Scalar | None
    conditions: tuple[Scalar, ...]
    values: dict[str, np.ndarray]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes 0, 1, ..., where they have names."""
        return () if self.label is None else class_names(self.label)

    def columns(self) -> Columns:
        """How the conditions are encoded: flags as 0 and 1, classes one-hot, numbers standardized.

        Raises:
          UserError: a feature has too many classes for that, or values that are no numbers.
        """
        return Columns(tuple(_column(each, self.values[each.name]) for each in self.conditions))

    def labels(self) -> np.ndarray | None:
        """The class of each example, int32 [n]; None without labels."""
        return None if self.label is None else class_labels(self.values[self.label.name])

    def condition(self, columns: Columns) -> PyTree | None:
        """Labels [n], vectors [n, k], or the pair of both; None without conditions."""
        labels = self.labels()
        vectors = columns.encode(self.values) if self.conditions else None
        both = [x for x in (labels, vectors) if x is not None]
        return tuple(both) if len(both) == 2 else both[0] if both else None


def class_names(label: Scalar) -> tuple[str, ...]:
    """Names of the classes of a feature; flags have the classes false and true."""
    return _FLAG if label.dtype == "bool" else label.class_names


def count_labels(label: Scalar) -> int:
    """How many classes a feature has; 0 where its metadata do not tell."""
    return len(_FLAG) if label.dtype == "bool" else label.num_classes


def label_of(name: str, data_dir: str | None, label: str) -> Scalar:
    """The feature of classes of a prepared data set.

    Raises:
      UserError: there is none of this name, or it holds no classes.
    """
    found, *others = chosen_scalars(name, data_dir, [label], "--dataset.label")
    if others or found.name != label or found.dtype.startswith("float"):
        raise UserError(f"the feature {label!r} of {name} holds no classes")
    return found


def chosen_scalars(
    name: str, data_dir: str | None, names: Sequence[str], option: str
) -> tuple[Scalar, ...]:
    """The features of these names; of a name that others are nested in, all of those.

    Raises:
      UserError: there are none.
    """
    known, found = scalars_of(name, data_dir), dict[str, Scalar]()
    for wanted in names:
        inner = {k: v for k, v in known.items() if k == wanted or k.startswith(f"{wanted}/")}
        if not inner:
            near = difflib.get_close_matches(wanted, known, n=1)
            near = near or [each for each in known if each.endswith(f"/{wanted}")]
            told = f"it has {', '.join(known)[:300] or 'none of numbers or classes'}"
            hint = f"did you mean {near[0]}?" if near else told
            raise UserError(f"{option} names a feature {wanted!r}, which {name} has not: {hint}")
        found |= inner
    return tuple(found.values())


def read_targets(
    name: str,
    split: str,
    data_dir: str | None,
    label: str | None,
    conditions: tuple[str, ...],
) -> Targets:
    """Labels and conditions of all examples of a split, read without their images.

    Raises:
      UserError: there are no such features, or the data set cannot be read.
    """
    classes = None if label is None else label_of(name, data_dir, label)
    vectors = chosen_scalars(name, data_dir, conditions, "--dataset.condition")
    scalars = dict.fromkeys([*([] if classes is None else [classes]), *vectors])
    key = (name, split, data_dir, tuple(scalars))
    for former, values in _last:
        if former == key:
            return Targets(classes, vectors, values)
    source = open_source(name, split, data_dir, tuple(scalars), images=False)
    values = {each.name: np.empty(len(source), each.dtype) for each in scalars}
    for start in range(0, len(source), _BLOCK):
        index = range(start, min(start + _BLOCK, len(source)))
        for i, record in zip(index, source.__getitems__(index), strict=True):
            for each in values:
                values[each][i] = nested(record, each)
    _last[:] = [(key, values)]
    return Targets(classes, vectors, values)


# What was read last: a run asks for it several times.
_last: list[tuple[Any, dict[str, np.ndarray]]] = []


def nested(record: Any, name: str) -> Any:
    """The value of a feature by its name, `/` between those that it is nested in.

    Example:
      >>> nested({"attributes": {"Smiling": True}}, "attributes/Smiling")
      True
    """
    for key in name.split("/"):
        record = record[key]
    return record


def _column(scalar: Scalar, values: np.ndarray) -> Column:
    if scalar.dtype == "bool":
        return Column(scalar.name, "flag", low=0.0, high=1.0, values=_FLAG)
    if scalar.num_classes:
        require_few_categories(scalar.name, scalar.num_classes)
        numbers = class_labels(values)
        if numbers.max() >= scalar.num_classes:
            raise UserError(f"{scalar.name} has the value {numbers.max()}, which is no class")
        names = scalar.class_names or tuple(map(str, range(scalar.num_classes)))
        return Column(scalar.name, "category", values=names)
    if bad := int((~np.isfinite(values)).sum()):
        raise UserError(f"the feature {scalar.name} is NaN or infinity in {bad:,} examples")
    return Column.fit(scalar.name, "number" if values.dtype.kind == "f" else "integer", values)
