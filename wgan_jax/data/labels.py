"""Class labels of a data set: validation and counts per class."""

from __future__ import annotations

from typing import Any

import numpy as np

from wgan_jax.errors import UserError


def class_labels(labels: Any) -> np.ndarray:
    """Return labels as int32 [n].

    Raises:
      UserError: they are not one nonnegative integer for each example.
    """
    array = np.asarray(labels)
    array = array.astype(np.int32) if array.shape == (0,) else array  # NumPy makes [] floats
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise UserError(
            f"labels must be integers [n], counted from 0, got {array.dtype} of shape "
            f"{list(array.shape)}{_first(array)}"
        )
    if len(array) and not 0 <= int(array.min()) <= int(array.max()) < 2**31:
        out = array[(array < 0) | (array >= 2**31)]
        raise UserError(
            f"labels must be nonnegative integers, got {out[0]} ({len(out)} of {len(array)} "
            f"are out of range)"
        )
    return array.astype(np.int32)


def _first(array: np.ndarray) -> str:
    return f": {array.reshape(-1)[0]!s:.40}, ..." if array.size else ""


def count_classes(labels: Any, num_classes: int) -> tuple[int, ...]:
    """Count the examples of each of `num_classes` classes.

    Raises:
      UserError: a label is not a class, or there are no labels.

    Example:
      >>> count_classes([1, 1, 3], 4)
      (0, 2, 0, 1)
    """
    counts = np.bincount(class_labels(labels), minlength=num_classes)
    if len(counts) > num_classes:
        raise UserError(
            f"the data set has the label {len(counts) - 1}, but num_classes is {num_classes}"
        )
    if not counts.any():
        raise UserError("the data set has no labels")
    return tuple(counts.tolist())


def describe_counts(counts: tuple[int, ...]) -> str:
    """Describe classes and their numbers of examples in one line.

    Example:
      >>> describe_counts((0, 20, 980, 0, 0))
      '2 of 5 classes, 20 to 980 examples each; none of class 0, 3-4: no samples are drawn of these'
      >>> describe_counts((5, 5))
      '2 classes, 5 examples each'
    """
    sizes = sorted(count for count in counts if count)
    each = str(sizes[0]) if sizes[0] == sizes[-1] else f"{sizes[0]:,} to {sizes[-1]:,}"
    if len(sizes) == len(counts):
        return f"{len(counts)} classes, {each} examples each"
    missing = ranges([i for i, count in enumerate(counts) if not count])
    return (
        f"{len(sizes)} of {len(counts)} classes, {each} examples each; none of class {missing}: "
        "no samples are drawn of these"
    )


def ranges(numbers: list[int]) -> str:
    """Format ascending integers compactly.

    Example:
      >>> ranges([0, 2, 3, 4, 9])
      '0, 2-4, 9'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1] = [runs[-1][0], number]
        else:
            runs.append([number])
    return ", ".join("-".join(map(str, run)) for run in runs)
