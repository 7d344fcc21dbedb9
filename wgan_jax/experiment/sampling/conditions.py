"""Conditions that samples are drawn for: of the data, some of them set, or of a file."""

from __future__ import annotations

import jax
import numpy as np

from wgan_jax.data.conditions import read_conditions
from wgan_jax.errors import UserError
from wgan_jax.experiment.schema import Schema
from wgan_jax.types import PyTree


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
    return (labels[0], vectors) if labels else vectors
