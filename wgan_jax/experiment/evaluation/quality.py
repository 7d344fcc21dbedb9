"""Metrics of samples on features, next to those of real against real data.

A value is a mean over independent draws, with its standard error. Keys:

    frechet/lenet         the value; the name includes that of the features
    frechet/lenet/error   its standard error
    frechet/lenet/floor   the same between data and other data: what a second sample scores
    frechet/lenet/points  samples of each kind in a draw
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from wgan_jax import metrics
from wgan_jax.data.dataset import as_dataset
from wgan_jax.experiment.evaluation.features import Features
from wgan_jax.experiment.evaluation.samples import draw_sizes, fake_draws
from wgan_jax.gan import GAN
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.types import Array, GANState, PyTree

POINTS = 5_000
_DRAWS = 3


class FeatureBatch(NamedTuple):
    """Features of a set of samples.

    Attributes:
      features: [n, d].
      classes: probabilities [n, classes], if there is a classifier.
      labels: [n], if the samples have labels.
    """

    features: np.ndarray
    classes: np.ndarray | None
    labels: np.ndarray | None


Scores = dict[str, tuple[float, float | None]]
Measure = Callable[[FeatureBatch, FeatureBatch], Scores]


def _frechet(real: FeatureBatch, fake: FeatureBatch) -> Scores:
    return {"frechet": (float(metrics.frechet_distance(real.features, fake.features)), None)}


def _kernel(real: FeatureBatch, fake: FeatureBatch) -> Scores:
    value, error = metrics.kernel_distance(real.features, fake.features)
    return {"kernel": (float(value), float(error))}


def _precision_recall(real: FeatureBatch, fake: FeatureBatch) -> Scores:
    values = metrics.precision_recall(real.features, fake.features)._asdict()
    return {name: (float(value), None) for name, value in values.items()}


def _density_coverage(real: FeatureBatch, fake: FeatureBatch) -> Scores:
    values = metrics.density_coverage(real.features, fake.features)._asdict()
    return {name: (float(value), None) for name, value in values.items()}


def _classifier(real: FeatureBatch, fake: FeatureBatch) -> Scores:
    if fake.classes is None:
        return {}
    value, error = metrics.classifier_score(fake.classes)
    scores: Scores = {"classifier": (float(value), float(error))}
    if fake.labels is not None:
        accuracy = metrics.conditional_accuracy(fake.classes, fake.labels)
        scores["accuracy"] = (float(accuracy), None)
    return scores


MEASURES: dict[str, Measure] = {
    "frechet": _frechet,
    "kernel": _kernel,
    "precision": _precision_recall,
    "recall": _precision_recall,
    "density": _density_coverage,
    "coverage": _density_coverage,
    "classifier": _classifier,
    "accuracy": _classifier,
}


def points_features(shape: tuple[int, ...]) -> Features:
    """Return the identity as features, for points in few dimensions."""
    size = int(np.prod(shape))
    return Features("points", lambda x: x.reshape(-1, size), None, shape, {})


def feature_metrics(
    gan: GAN,
    state: GANState,
    data: Any,
    features: Features,
    *,
    names: tuple[str, ...] = tuple(MEASURES),
    points: int = POINTS,
) -> dict[str, float]:
    """Compute the measures `names`; return them by key.

    Args:
      state: its generator is used as is.
      data: a sampler, a data set on the device, or a stream.
      points: samples of each kind; at most half of a finite data set, whose rows are
        not repeated within a draw and the next.
    """
    data = as_dataset(data)
    points, draws = draw_sizes(data.size, points, _DRAWS)
    real_key, fake_key = jax.random.split(derive_key(state.key, Purpose.QUALITY))
    extract = make_extractor(features)
    reals = [extract(real) for real in data.draws(real_key, points, draws)]
    fakes = [extract(fake) for fake in fake_draws(gan, state, fake_key, points, draws)]
    measures = dict.fromkeys(MEASURES[name] for name in names)
    scores, floors = (
        [_measure(measures, x, y) for x, y in zip(left, right, strict=True)]
        for left, right in ((reals, fakes), (reals[:-1], reals[1:]))
    )
    result: dict[str, float] = {}
    for name in [name for name in names if name in scores[0]]:
        key = f"{name}/{features.name}"
        result[key], result[f"{key}/error"] = _mean([draw[name] for draw in scores])
        result[f"{key}/floor"] = _mean([draw[name] for draw in floors])[0]
        result[f"{key}/points"] = points
    return result


def _measure(measures: dict[Measure, None], real: FeatureBatch, fake: FeatureBatch) -> Scores:
    scores: Scores = {}
    for measure in measures:
        scores |= measure(real, fake)
    return scores


def _mean(values: list[tuple[float, float | None]]) -> tuple[float, float]:
    """Mean over draws, and its standard error from those of the draws or from their variance."""
    means, errors = zip(*values, strict=True)
    known = [error for error in errors if error is not None]
    if len(known) == len(values):
        return float(np.mean(means)), float(np.linalg.norm(known) / len(known))
    error = np.std(means, ddof=1) / len(means) ** 0.5 if len(means) > 1 else 0.0
    return float(np.mean(means)), float(error)


def make_extractor(features: Features) -> Callable[[PyTree], FeatureBatch]:
    """Return a function that extracts the features of a set of samples, a block at a time."""

    @jax.jit
    def apply(images: Array) -> tuple[Array, Array | None]:
        with jax.default_matmul_precision("highest"):
            classes = None if features.classify is None else features.classify(images)
            return features.apply(images), classes

    def extract(samples: PyTree) -> FeatureBatch:
        images, *conditions = map(np.asarray, jax.tree.leaves(samples))
        labels = [x for x in conditions if x.ndim == 1]
        n, size = len(images), min(features.batch, len(images))
        # The last block is padded, so one compiled program serves all; the padding is cut off.
        blocks = [images[np.arange(i, i + size) % n] for i in range(0, n, size)]
        columns = zip(*(jax.device_get(apply(block)) for block in blocks), strict=True)
        joined = [None if x[0] is None else np.concatenate(x)[:n] for x in columns]
        values, classes = joined
        return FeatureBatch(values, classes, labels[0] if labels else None)  # type: ignore[arg-type]

    return extract
