"""Conditions that samples are drawn for: of the data, some of them set, or of a file."""

from __future__ import annotations

import logging

import jax
import numpy as np

from wgan_jax.data.conditions import read_conditions
from wgan_jax.errors import UserError
from wgan_jax.experiment.schema import Schema
from wgan_jax.types import PyTree

logger = logging.getLogger(__name__)

# The conditions that are kept of large data are some of them, which need not reach both ends.
_NEAR = 0.01


def choose_conditions(
    rows: PyTree,
    schema: Schema,
    label: int | None,
    condition: tuple[tuple[str, str], ...],
    file: str | None,
) -> PyTree:
    """Conditions as networks take them, vectors [m, k] or pairs (labels [m], vectors).

    Args:
      rows: those of the data.
      schema: of the run.
      label: the one class that is wanted, or None.
      condition: columns with the values that they are set to.
      file: with a condition for each sample, in the units of the data.

    Raises:
      UserError: a column, value, class or file that the run does not know.
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
    """Say which numbers are asked for that lie outside of those trained on."""
    assert schema.conditions is not None
    for name, place, center, scale in schema.conditions.standardized():
        known, asked = seen[:, place], vectors[:, place]
        room = _NEAR * np.ptp(known) + 1e-5
        if asked.min() < known.min() - room or asked.max() > known.max() + room:
            unit = 1e-6 * scale  # rounding of float32 is less, and would be told as 1e-07 for 0
            low, high, least, most = (
                f"{round((float(x) * scale + center) / unit) * unit:.4g}"
                for x in (known.min(), known.max(), asked.min(), asked.max())
            )
            wanted = least if least == most else f"{least} to {most}"
            logger.warning(
                f"warning: {name} is asked for at {wanted}, and the data lie from {low} to {high}: "
                f"beyond them the generator extrapolates"
            )
