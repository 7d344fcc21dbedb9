"""Labels and conditions of the images of a prepared data set, by feature name."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from wgan_jax.data.columns import Column, Columns, require_few_categories
from wgan_jax.data.labels import class_labels
from wgan_jax.data.records import open_source, scalars_of
from wgan_jax.data.tfds import Scalar
from wgan_jax.errors import UserError
from wgan_jax.types import PyTree

_BLOCK = 1_000  # records read at a time
_FLAG = ("false", "true")


class Targets(NamedTuple):
    """Labels and conditions of the images of a split.

    Attributes:
      label: the feature of classes; None without labels.
      conditions: the features that make up the condition vectors.
      values: [n] for each feature.
    """

    label: Scalar | None
    conditions: tuple[Scalar, ...]
    values: dict[str, np.ndarray]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the classes 0, 1, ..., if they have names."""
        return () if self.label is None else class_names(self.label)

    def columns(self) -> Columns:
        """Fit the encoding of conditions: flags as 0 and 1, classes one-hot, numbers standardized.

        Raises:
          UserError: a feature has too many classes for one-hot, or values that are not finite.
        """
        return Columns(tuple(_column(x, self.values[x.name]) for x in self.conditions))

    def labels(self) -> np.ndarray | None:
        """Return the class of each example, int32 [n]; None without labels."""
        return None if self.label is None else class_labels(self.values[self.label.name])

    def condition(self, columns: Columns) -> PyTree | None:
        """Return labels [n], vectors [n, k], or the pair of both; None without conditions."""
        labels = self.labels()
        vectors = columns.encode(self.values) if self.conditions else None
        both = [x for x in (labels, vectors) if x is not None]
        return tuple(both) if len(both) == 2 else both[0] if both else None


def class_names(label: Scalar) -> tuple[str, ...]:
    """Return the class names of a feature; flags have the classes false and true."""
    return _FLAG if label.dtype == "bool" else label.class_names


def count_labels(label: Scalar) -> int:
    """Return the number of classes of a feature; 0 if its metadata do not give it."""
    return len(_FLAG) if label.dtype == "bool" else label.num_classes


def label_of(name: str, data_dir: str | None, label: str) -> Scalar:
    """Return the feature of classes of a prepared data set.

    Raises:
      UserError: no feature has this name, or it holds no classes.
    """
    scalar, *others = chosen_scalars(name, data_dir, [label], "--dataset.label")
    if others or scalar.name != label or scalar.dtype.startswith("float"):
        raise UserError(f"the feature {label!r} of {name} holds no classes")
    return scalar


def chosen_scalars(
    name: str, data_dir: str | None, names: Sequence[str], option: str
) -> tuple[Scalar, ...]:
    """Return the features of these names; a name with nested features stands for all of them.

    Raises:
      UserError: a name has no features.
    """
    known, scalars = scalars_of(name, data_dir), dict[str, Scalar]()
    for wanted in names:
        inner = {k: v for k, v in known.items() if k == wanted or k.startswith(f"{wanted}/")}
        if not inner:
            near = difflib.get_close_matches(wanted, known, n=1)
            near = near or [feature for feature in known if feature.endswith(f"/{wanted}")]
            listed = f"it has {', '.join(known)[:300] or 'none of numbers or classes'}"
            hint = f"did you mean {near[0]}?" if near else listed
            raise UserError(f"{option} names a feature {wanted!r}, but {name} has none: {hint}")
        scalars |= inner
    return tuple(scalars.values())


def read_targets(
    name: str,
    split: str,
    data_dir: str | None,
    label: str | None,
    conditions: tuple[str, ...],
) -> Targets:
    """Read labels and conditions of all examples of a split, without their images.

    Raises:
      UserError: there are no such features, or the data set cannot be read.
    """
    classes = None if label is None else label_of(name, data_dir, label)
    vectors = chosen_scalars(name, data_dir, conditions, "--dataset.condition")
    scalars = dict.fromkeys([*([] if classes is None else [classes]), *vectors])
    return Targets(classes, vectors, _values(name, split, data_dir, tuple(scalars)))


@functools.lru_cache(maxsize=1)  # a run needs them several times
def _values(
    name: str, split: str, data_dir: str | None, scalars: tuple[Scalar, ...]
) -> dict[str, np.ndarray]:
    source = open_source(name, split, data_dir, scalars, images=False)
    values = {scalar.name: np.empty(len(source), scalar.dtype) for scalar in scalars}
    for start in range(0, len(source), _BLOCK):
        index = range(start, min(start + _BLOCK, len(source)))
        for i, record in zip(index, source.__getitems__(index), strict=True):
            for feature in values:
                values[feature][i] = nested(record, feature)
    return values


def nested(record: Any, name: str) -> Any:
    """Return the value of a feature by its name, with `/` between nested names.

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
            raise UserError(f"{scalar.name} has the value {numbers.max()}, which is not a class")
        names = scalar.class_names or tuple(map(str, range(scalar.num_classes)))
        return Column(scalar.name, "category", values=names)
    if bad := int((~np.isfinite(values)).sum()):
        raise UserError(f"the feature {scalar.name} is NaN or infinity in {bad:,} examples")
    return Column.fit(scalar.name, "number" if values.dtype.kind == "f" else "integer", values)
