"""Conditions of samples: from the data, with some columns set, or from a file."""

from __future__ import annotations

import logging

import jax
import numpy as np

from wgan_jax.data.conditions import read_conditions
from wgan_jax.errors import UserError
from wgan_jax.experiment.schema import Schema
from wgan_jax.types import PyTree

logger = logging.getLogger(__name__)

# For large data only some conditions are recorded, which may not include the extremes.
_MARGIN = 0.01


def choose_conditions(
    rows: PyTree,
    schema: Schema,
    label: int | None,
    condition: tuple[tuple[str, str], ...],
    file: str | None,
) -> PyTree:
    """Choose conditions in network form, vectors [m, k] or pairs (labels [m], vectors).

    Args:
      rows: conditions of the data.
      schema: schema of the run.
      label: the only class to draw, or None.
      condition: names of columns and the values to set them to.
      file: file with a condition for each sample, in the units of the data.

    Raises:
      UserError: an unknown column, value or class, or an invalid file.
    """
    *labels, vectors = map(np.asarray, jax.tree.leaves(rows))
    seen = vectors
    if file is not None:
        if condition:
            raise UserError("--conditions FILE and --condition NAME=VALUE exclude each other")
        name = schema.label if labels and label is None else None
        vectors, given = read_conditions(file, schema.conditions, name, schema.class_names)
        if labels:
            labels = [np.full(len(vectors), label, np.int32) if given is None else given]
    elif labels and label is not None:
        is_wanted = labels[0] == label
        labels, vectors = [labels[0][is_wanted]], vectors[is_wanted]
    if condition:
        vectors = vectors.copy()
    for name, text in condition:
        assert schema.conditions is not None
        place, numbers = schema.conditions.encode_value(name, text)
        vectors[:, place] = numbers
    _warn_of_extrapolation(vectors, seen, schema)
    return (labels[0], vectors) if labels else vectors


def _warn_of_extrapolation(vectors: np.ndarray, seen: np.ndarray, schema: Schema) -> None:
    """Warn of requested numbers outside the range of the training data."""
    assert schema.conditions is not None
    for name, place, center, scale in schema.conditions.standardized():
        known, asked = seen[:, place], vectors[:, place]
        margin = _MARGIN * np.ptp(known) + 1e-5
        if asked.min() < known.min() - margin or asked.max() > known.max() + margin:
            unit = 1e-6 * scale  # hides float32 rounding errors, such as 1e-07 instead of 0
            low, high, least, most = (
                f"{round((float(x) * scale + center) / unit) * unit:.4g}"
                for x in (known.min(), known.max(), asked.min(), asked.max())
            )
            wanted = least if least == most else f"{least} to {most}"
            logger.warning(
                f"warning: {name} is set to {wanted}, but the data range from {low} to {high}: "
                f"outside this range the generator extrapolates"
            )
