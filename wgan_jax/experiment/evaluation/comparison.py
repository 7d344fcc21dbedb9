"""Compares generators by W1 to the same data, with bounds that hold for all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import permutations
from typing import Any, NamedTuple

import jax
import numpy as np

from wgan_jax.data.dataset import Dataset
from wgan_jax.estimate import W1Estimate, estimate_w1
from wgan_jax.estimate.result import percent
from wgan_jax.experiment.evaluation.features import Features
from wgan_jax.experiment.evaluation.samples import Unlabelled, examples_of, generate, generated
from wgan_jax.experiment.run import Run
from wgan_jax.experiment.sampling.read_samples import as_written
from wgan_jax.transforms.ema import with_ema
from wgan_jax.types import Array

ROWS = 20_000
COLUMNS = ("step", "W1", "at least", "at most")
_DISTANCES = ("value", "lower", "upper", "floor", "transport")
_WIDTH = 28  # of a name in the table


class Reference(NamedTuple):
    """Data that all candidates are compared with.

    Attributes:
      source: a sampler, or rows [n, ...] in the networks' format.
      kind: description of the rows, such as held-out data.
      title: name of the data set.
      scale: factor that converts distances to the unit of the data, if they have one.
    """

    source: Any
    kind: str
    title: str
    scale: float

    @classmethod
    def of(
        cls, data: Dataset, title: str, key: Array, num: int, *, trained_on: bool = True
    ) -> Reference:
        """Select held-out data if there are any; at most `num` rows of a finite set.

        `trained_on` is whether the candidates may have seen data that are not held out.
        """
        unseen = data.held_out()
        kind = ("training data" if trained_on else "data") if unseen is None else "held-out data"
        chosen = data if unseen is None else unseen
        scale = 1.0 if data.units is None else data.units.scale or 1.0
        if chosen.size is None:
            return cls(Unlabelled(chosen), "fresh draws", title, scale)
        rows = next(chosen.draws(key, min(num, chosen.size), 1))
        return cls(examples_of(rows).astype(np.float32, copy=False), kind, title, scale)


class Candidate(NamedTuple):
    """Named samples to compare: a sampler or rows [n, ...], and the step of their run."""

    name: str
    source: Any
    step: int | None = None

    @classmethod
    def of(cls, name: str, run: Run, reference: Reference, key: Array) -> Candidate:
        """A run's generator: a sampler if the reference is one, else as many samples as data.

        The samples equal those that `sample` writes, so a run and its file have the same distance.
        """
        state = with_ema(run.state)
        if callable(reference.source):
            return cls(name, generated(run.gan, state), run.step)
        samples = examples_of(generate(run.gan, state, key, len(reference.source)))
        written = as_written(samples, run.config.dataset, run.data)
        return cls(name, written, run.step)


class Comparison(NamedTuple):
    """Bounds on W1 to the data, which hold jointly at the stated confidence.

    Attributes:
      rows: the candidates with their estimates.
      reference: the data that they are compared with.
      confidence: joint confidence of all bounds; they share the risk equally.
      unit: unit of the distances.
    """

    rows: list[tuple[Candidate, W1Estimate]]
    reference: Reference
    confidence: float
    unit: str = ""

    @property
    def nearer(self) -> list[tuple[str, str]]:
        """Pairs whose first is certified nearer to the data: their intervals are disjoint."""
        return [
            (a.name, b.name)
            for (a, near), (b, far) in permutations(self.rows, 2)
            if near.upper < far.lower
        ]

    def to_json(self) -> dict[str, Any]:
        numbers = ("value", "lower", "upper", "floor", "n_p", "n_q", "upper_is_noise")
        return {
            "data": self.reference.title,
            "kind": self.reference.kind,
            "unit": self.unit,
            "confidence": self.confidence,
            "runs": [
                {"name": candidate.name, "step": candidate.step}
                | {name: getattr(estimate, name) for name in numbers}
                for candidate, estimate in self.rows
            ],
            "nearer": [list(pair) for pair in self.nearer],
        }


def compare(
    candidates: Sequence[Candidate],
    reference: Reference,
    key: Array,
    *,
    confidence: float = 0.95,
    features: Features | None = None,
    **options: Any,
) -> Comparison:
    """Bound W1 of each candidate to the data; all of them share the risk.

    Args:
      candidates: one or more.
      reference: the data.
      key: PRNG key.
      confidence: probability that all bounds hold at once.
      features: the space that distances are measured in; by default that of the samples.
      options: options of `estimate_w1`.

    Raises:
      ValueError: samples cannot be compared with the data.
    """
    each = 1 - (1 - confidence) / len(candidates)
    scale = 1.0 if features is not None else reference.scale
    rows = []
    for candidate, subkey in zip(candidates, jax.random.split(key, len(candidates)), strict=True):
        p, q = candidate.source, reference.source
        try:
            estimate = estimate_w1(p, q, key=subkey, confidence=each, features=features, **options)
        except ValueError as error:
            names = f"p is {candidate.name}, q is {reference.title}"
            raise ValueError(f"{error} ({names})") from error
        scaled = {name: scale * getattr(estimate, name) for name in _DISTANCES}
        rows.append((candidate, estimate._replace(**scaled)))
    unit = "" if features is None else f"features of {features.name}"
    return Comparison(rows, reference, confidence, unit)


def cells(comparison: Comparison, number: Callable[[float], str]) -> list[list[str]]:
    """Return the rows of a table: short name, step, W1, lower and upper bound of each candidate."""
    names = short_names([candidate.name for candidate, _ in comparison.rows])
    return [
        [
            name,
            "" if candidate.step is None else f"{candidate.step:,}",
            *map(number, (e.value, e.lower)),
            number(e.upper) + (" (mostly noise)" if e.upper_is_noise else ""),
        ]
        for name, (candidate, e) in zip(names, comparison.rows, strict=True)
    ]


def table(comparison: Comparison) -> str:
    """Format a comparison as a table, with its conclusions."""
    reference = comparison.reference
    n = "" if callable(reference.source) else f"{len(reference.source):,} of the "
    unit = f" in {comparison.unit}" if comparison.unit else ""
    lines = [["", *COLUMNS], *cells(comparison, "{:.4g}".format)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = [
        "  ".join(
            [line[0].ljust(widths[0]), *map(str.rjust, line[1:4], widths[1:4]), line[4]]
        ).rstrip()
        for line in lines
    ]
    head = f"W1 to {reference.title}{unit} ({n}{reference.kind})"
    return "\n".join([head, *texts, "", *statements(comparison)])


def statements(comparison: Comparison) -> list[str]:
    """Return the conclusions from the bounds, as sentences."""
    names = [candidate.name for candidate, _ in comparison.rows]
    labels = dict(zip(names, short_names(names), strict=True))
    lines = [
        f"{labels[a]} is nearer to the data than {labels[b]}: certified"
        for a, b in comparison.nearer
    ]
    if not lines and len(names) > 1:
        lines.append("no difference is certified: the intervals overlap")
    elif len(lines) < len(names) * (len(names) - 1) // 2:
        lines.append("no other difference is certified: the intervals of the others overlap")
    bounds = "all bounds hold" if len(names) > 1 else "both bounds hold"
    lines.append(f"{bounds} at once with {percent(comparison.confidence)} confidence")
    if comparison.reference.kind == "training data":
        lines[-1] += (
            ", unless generators have memorized these data: none are held out from training"
        )
    return lines


def short_names(names: Sequence[str]) -> list[str]:
    """Shorten paths to as many of their last parts as distinguish them, and to a maximum width.

    Example:
      >>> short_names(["runs/a/gp", "runs/b/gp", "clip"])
      ['a/gp', 'b/gp', 'clip']
    """
    parts = [name.rstrip("/").split("/") for name in names]
    names = []
    for i, path in enumerate(parts):
        k = next(
            (
                k
                for k in range(1, len(path))
                if all(path[-k:] != other[-k:] for j, other in enumerate(parts) if j != i)
            ),
            len(path),
        )
        names.append(_truncate("/".join(path[-k:])))
    return names


def _truncate(name: str) -> str:
    half = (_WIDTH - 3) // 2
    return name if len(name) <= _WIDTH else f"{name[:half]}...{name[-half:]}"
