"""Certified W1 within each class of a class-conditional run.

A generator that ignores its labels can be near the data as a whole, and one that draws a single
picture for each class far from it: W1 by class shows which classes are at fault.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from wgan_jax.experiment.evaluation.metrics import BOUNDS, CLASS
from wgan_jax.experiment.evaluation.samples import examples_of
from wgan_jax.networks.conditional import label_and_vector
from wgan_jax.types import PyTree

_MOST_CLASSES, FEWEST_ROWS = 20, 64


def w1_by_class(
    fake: PyTree,
    real: PyTree,
    names: Sequence[str],
    estimate: Callable[[np.ndarray, np.ndarray, int], dict[str, float]],
) -> dict[str, float]:
    """Return W1 within each class, `w1/class/NAME`, with `.../lower`, `.../upper`, `.../points`.

    Of the classes with 64 examples or more, at most 20 are measured, the most frequent ones, each
    with up to a fifth of its examples left out.

    Args:
      fake, real: samples and held-out data: pairs (x[n, ...], condition).
      names: names of the classes 0, 1, ...; classes without a name go by number.
      estimate: `(fake, real, label) -> {"w1/value": ..., "w1/lower": ..., "w1/upper": ...}`.

    Example:
      >>> real = np.zeros((90, 2)), np.arange(90, dtype=np.int32) // 80
      >>> zero = dict.fromkeys(BOUNDS, 0.0)
      >>> w1_by_class(real, real, ["cat", "dog"], lambda x, y, label: zero)["w1/class/cat/points"]
      80
    """
    labels = [label_and_vector(pair[1:])[0] for pair in (fake, real)]
    if labels[0] is None or labels[1] is None:
        return {}
    of_fake, of_real = map(np.asarray, labels)
    x, y = examples_of(fake), examples_of(real)
    size = 1 + max(of_fake.max(), of_real.max())
    counts = np.minimum(*(np.bincount(k, minlength=size) for k in (of_fake, of_real)))
    result: dict[str, float] = {}
    for label in sorted(np.argsort(-counts, kind="stable")[:_MOST_CLASSES]):
        if counts[label] < FEWEST_ROWS:
            continue
        name = names[label] if label < len(names) else str(label)
        key = f"{CLASS}{name.replace('/', '_')}"
        n = _round_down(int(counts[label]))
        found = estimate(x[of_fake == label][:n], y[of_real == label][:n], int(label))
        result[key], result[f"{key}/lower"], result[f"{key}/upper"] = (found[b] for b in BOUNDS)
        result[f"{key}/points"] = n
    return result


def _round_down(n: int) -> int:
    """Round to one of four sizes in each octave, since each size compiles its own programs."""
    step = 2 ** max(0, n.bit_length() - 3)
    return n // step * step
