"""User-supplied arrays as a data set: images or points, optionally with labels."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from wgan_jax.data.array_files import SUFFIXES, open_array, samples_key
from wgan_jax.data.dataset import Units, fingerprint_of
from wgan_jax.data.labels import class_labels
from wgan_jax.data.remote import expand_user
from wgan_jax.data.rows import (
    FileConfig,
    LastRead,
    Rows,
    classes,
    is_held_out,
    log_classes,
    require_both_parts,
    require_finite,
    rows_in_words,
    stamp,
)
from wgan_jax.data.units import ArrayUnits, standardizing
from wgan_jax.errors import UserError

_CHANNELS = (1, 3)
_MOST_NUMBERED = 2**16  # larger integers are names: networks allocate parameters for each class
_RANGES = (0, 1), (-1, 1), (0, 255), (0, 65535)  # common values of black and white


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arrays(FileConfig):
    """An array in a .npy, .npz or HDF5 file: points [n, d], or images [n, h, w] or [n, h, w, c].

    Samples have the units and the dtype of the array.

    Example:
      >>> import tempfile
      >>> folder = Path(tempfile.mkdtemp())
      >>> np.save(folder / "x.npy", np.array([[1, 20], [3, 40]]))
      >>> data = Arrays(path=str(folder / "x.npy")).open()
      >>> data.units.to_units(data.examples).tolist()
      [[1, 20], [3, 40]]
    """

    path: str = ""
    """File of the array: .npy, .npz, .h5 or .hdf5."""
    key: str | None = None
    """Name of the array in its file; not needed if the file holds only one."""
    labels: str | None = None
    """Name of an array of class labels in the same file, or a file with such an array."""
    condition: str | None = None
    """Name of an array [n] or [n, k] of numbers to condition samples on, or a file with one."""
    value_range: tuple[float, ...] = ()
    """Values of black and white for images that are not uint8, such as 0 1; mapped to -1 and 1."""
    standardize: Literal["common", "columns", "none"] = "common"
    """Standardize points by one scale for all columns, which preserves distances; by one for each
    column, if they have different units; or not at all."""
    held_out: float = 0.0
    """Fraction of the examples kept for evaluation, chosen by a hash of their content."""

    def __post_init__(self) -> None:
        super().__post_init__()
        bounds = self.value_range
        if bounds and not (len(bounds) == 2 and bounds[0] < bounds[1]):
            raise ValueError(
                f"dataset.value_range takes the lowest and the highest value, got {bounds}"
            )

    def read(self, units: Units | None, *, again: bool) -> Rows:
        opened = _last(self, stamp(self.path, self.labels, self.condition), again=again)
        current = opened.units
        if units is not None:
            if not isinstance(units, ArrayUnits) or units.example_shape != current.example_shape:
                raise UserError(
                    f"{opened.name} holds examples of another shape than its run started with"
                )
            current = dataclasses.replace(units, dtype=current.dtype)
        rows = Rows(
            _encoded(opened.array, current, opened.name),
            current,
            opened.held_out,
            opened.digest,
            opened.labels,
            opened.class_names,
        )
        units = opened.condition_units
        if opened.conditions is None or units is None:
            return rows
        encoded = _encoded(opened.conditions, units, str(self.condition))
        return rows._replace(conditions=encoded, condition_units=units)

    def config_of_samples(self, path: str) -> Arrays:
        config = super().config_of_samples(path)
        return dataclasses.replace(config, key=samples_key(path), labels=None)


class _Opened(NamedTuple):
    """An array of a file, with everything derived from it."""

    array: np.ndarray
    name: str
    units: ArrayUnits
    held_out: np.ndarray
    digest: str
    labels: np.ndarray | None
    class_names: tuple[str, ...]
    conditions: np.ndarray | None
    condition_units: ArrayUnits | None


def _open(config: Arrays) -> _Opened:
    """Open the array of a file."""
    array = open_array(config.path, config.key, "--dataset.key")
    what = config.path if config.key is None else f"{config.path}[{config.key}]"
    if array.dtype.kind not in "biuf":
        raise UserError(f"{what} holds {array.dtype}, but networks learn numbers")
    if 0 in array.shape:
        raise UserError(f"{what} of shape {list(array.shape)} is empty, but training needs rows")
    if array.ndim not in (2, 3, 4):
        raise UserError(
            f"{what} has the shape {list(array.shape)}: give points [n, d], or images [n, h, w] "
            f"or [n, h, w, c]"
        )
    labels, names = (None, ()) if config.labels is None else _labels(config, what, len(array))
    require_finite(array, what)
    held_out = np.zeros(len(array), bool)
    if config.held_out:
        held_out = is_held_out((np.ascontiguousarray(x).tobytes() for x in array), config.held_out)
        require_both_parts(held_out, config.held_out, what)
    units = (_points if array.ndim == 2 else _images)(config, array, held_out, what)
    conditions = None if config.condition is None else _conditions(config, what, len(array))
    parts = [x for x in (array, labels, conditions) if x is not None]
    digest = fingerprint_of(len(array), parts)["sha256"]
    condition_units = None if conditions is None else standardizing(conditions, ~held_out, "c")
    return _Opened(array, what, units, held_out, digest, labels, names, conditions, condition_units)


_last = LastRead(_open)


def _encoded(array: np.ndarray, units: ArrayUnits, what: str) -> np.ndarray:
    """Encode examples for the networks; uint8 images stay uint8 until they are on the device."""
    examples = array.reshape(len(array), *units.example_shape)
    if array.ndim > 2 and array.dtype == np.uint8 and units.center == (127.5,) == units.scales:
        return examples
    x = units.to_numbers(examples)
    if not np.isfinite(x).all():
        raise UserError(f"{what} has values beyond those of float32: divide them by a power of 10")
    return x


def _points(config: Arrays, array: np.ndarray, held_out: np.ndarray, what: str) -> ArrayUnits:
    """Units with mean 0 and variance 1, possibly on average over columns, of the training data."""
    if config.value_range:
        raise UserError(f"{what} holds points, but --dataset.value-range is for images")
    train, name, shape = array[~held_out], array.dtype.name, array.shape[1:]
    if config.standardize == "none":
        return ArrayUnits((0.0,), (1.0,), name, shape)
    units = standardizing(array, ~held_out)
    if config.standardize == "columns":
        return units
    varying = np.array(units.scales)[train.min(0) < train.max(0)]
    peak = varying.max(initial=0) or 1.0
    common = peak * float(np.square(varying / peak).mean()) ** 0.5 if len(varying) else 1.0
    return dataclasses.replace(units, scales=(common,) * len(units.scales))


def _images(config: Arrays, array: np.ndarray, held_out: np.ndarray, what: str) -> ArrayUnits:
    """Units in which images are in [-1, 1]."""
    bounds, channels = config.value_range, array.shape[-1] if array.ndim == 4 else 1
    if channels not in _CHANNELS:
        is_first = array.ndim == 4 and array.shape[1] in _CHANNELS
        hint = "; it looks like [n, c, h, w]: save np.moveaxis(x, 1, -1)" if is_first else ""
        raise UserError(f"{what} has {channels} channels, where images have 1 or 3{hint}")
    if not bounds:
        known = {"uint8": (0.0, 255.0), "bool": (0.0, 1.0)}
        if array.dtype.name not in known:
            least, most = float(array.min()), float(array.max())
            likely = next((r for r in _RANGES if r[0] <= least <= most <= r[1]), (least, most))
            raise UserError(
                f"{what} holds images of {array.dtype}, from {least:g} to {most:g}: give the "
                f"values of black and white, such as --dataset.value-range {likely[0]:g} "
                f"{likely[1]:g}"
            )
        bounds = known[array.dtype.name]
    low, high = bounds
    outside = np.zeros(0, int)
    if array.dtype != np.uint8 or (low, high) != (0, 255):
        outside = np.flatnonzero(((array < low) | (array > high)).reshape(len(array), -1).any(1))
    if len(outside):
        raise UserError(
            f"{what} has values from {array.min():g} to {array.max():g}, out of the range {low:g} "
            f"to {high:g}, in {rows_in_words(outside, len(array))}"
        )
    return ArrayUnits(((low + high) / 2,), ((high - low) / 2,), array.dtype.name, array.shape[1:])


def _labels(config: Arrays, what: str, count: int) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read labels as int32 [n], and class names: () if labels are class numbers."""
    labels, name = _companion(config, str(config.labels), "--dataset.labels")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = "; for one-hot rows, save labels.argmax(1)" if labels.ndim == 2 else ""
        raise UserError(
            f"{name} has the shape {list(labels.shape)}, but labels are one per example, [n]{hint}"
        )
    if len(labels) != count:
        raise UserError(f"{what} holds {count:,} examples, and {name} {len(labels):,} labels")
    require_finite(labels, name)
    if labels.dtype.kind in "iub" and 0 <= labels.min() <= labels.max() < _MOST_NUMBERED:
        return class_labels(labels), ()
    numbers, names = classes(labels, name)
    log_classes(names, name)
    return numbers, names


def _conditions(config: Arrays, what: str, count: int) -> np.ndarray:
    """Read the numbers [n, k] that examples are conditioned on."""
    conditions, name = _companion(config, str(config.condition), "--dataset.condition")
    conditions = conditions[:, None] if conditions.ndim == 1 else conditions
    if conditions.ndim != 2 or conditions.dtype.kind not in "biuf" or 0 in conditions.shape:
        raise UserError(
            f"{name} has the shape {list(conditions.shape)} of {conditions.dtype}, but conditions "
            f"are numbers [n] or [n, k] (classes are --dataset.labels)"
        )
    if len(conditions) != count:
        raise UserError(f"{what} holds {count:,} examples, and {name} {len(conditions):,} rows")
    require_finite(conditions, name)
    return conditions


def _companion(config: Arrays, name: str, option: str) -> tuple[np.ndarray, str]:
    """Read an array that goes with the examples, from their file or its own; and its name."""
    holds_one = config.path.lower().endswith(".npy")
    is_file = Path(expand_user(name)).is_file()
    if holds_one and not is_file and not name.lower().endswith(SUFFIXES):
        raise UserError(
            f"{option} {name} names no file, and {config.path} holds only the examples: "
            f"give a file, such as {name}.npy"
        )
    if holds_one or is_file:
        return open_array(name, None, option), name
    return open_array(config.path, name, option), f"{config.path}[{name}]"
