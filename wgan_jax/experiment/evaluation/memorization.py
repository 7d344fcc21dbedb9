"""Detects copies of training data among samples, by the nearest training examples of each.

All training examples are searched, a block at a time. The distances of samples to them are
compared with those of held-out data, to detect copying, and with those of training examples to
each other, to validate the held-out data: if training data contain near-duplicates, or the
features were trained on them, held-out data are farther away, and honest samples may be nearer.
Blurred samples are nearer to all data, copies only to training data: therefore a third test
counts how often a sample's nearest example, among training and held-out data, is held out.

Keys:

    data_copying/lenet             share of pairs in which the sample is nearer than held-out data
    data_copying/lenet/error       its standard error if nothing is copied
    data_copying/lenet/floor       the same for training examples
    data_copying/lenet/z           z-score against held-out data; far below 0 indicates copying
    data_copying/lenet/z/training  z-score against training examples
    near_copies/lenet              share of samples nearer than 1% of the held-out data
    near_copies/lenet/floor        the same for training examples
    near_copies/lenet/expected     its mean if nothing is copied
    near_copies/lenet/p            p-value of the share, against held-out data
    near_copies/lenet/p/training   p-value of the share, against training examples
    near_copies/lenet/membership   z-score of membership, below, for samples this near to any data
    membership/lenet               share of samples whose nearest example is held out
    membership/lenet/floor         its mean if nothing is copied
    membership/lenet/z             its z-score; far below 0 indicates copying
    .../points                     number of samples
    memorization/held_out, memorization/training  numbers of examples compared with
    memorization                   reason for the absence of these numbers, if they are absent
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from wgan_jax.data.dataset import Dataset, DatasetConfig
from wgan_jax.experiment.evaluation.features import Features
from wgan_jax.experiment.evaluation.quality import make_extractor, points_features
from wgan_jax.experiment.evaluation.samples import examples_of, generate, sample_shape
from wgan_jax.experiment.plots import to_pixels
from wgan_jax.experiment.sampling.read_samples import as_written
from wgan_jax.gan import GAN
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.metrics import Neighbors, data_copying, nearest_membership, nearest_neighbors
from wgan_jax.types import Array, GANState

_POINTS, _REFERENCE, _FEWEST = 1_000, 500, 20
_VALUES, _ROWS = 2**24, 2**14  # in a block of training examples
_SHOWN, _NEIGHBORS = 8, 3
_NAMES = ("data_copying", "near_copies", "membership")


class NearestExamples(NamedTuple):
    """Samples next to their nearest training examples, as uint8 pixels.

    Attributes:
      samples: [n, h, w, channels], the eight nearest to the training data, then eight random ones.
      examples: [n, k, h, w, channels], the nearest first.
    """

    samples: np.ndarray
    examples: np.ndarray


def memorization(
    dataset: DatasetConfig,
    gan: GAN,
    state: GANState,
    data: Dataset,
    unseen: Dataset | None,
    judge: Features | None,
    *,
    points: int = _POINTS,
) -> tuple[dict[str, Any], NearestExamples | None]:
    """Return numbers by key, and images to inspect; empty for a distribution without examples.

    Args:
      dataset: the config of the data.
      gan: generates the samples.
      state: its generator is used as is.
      data: the training data.
      unseen: the held-out data, or None.
      judge: the features that distances are measured in; pixels if None.
      points: number of samples, at most 1,000.
    """
    size, shape = data.size, sample_shape(data)
    if size is None:
        return {}, None
    keys = jax.random.split(derive_key(state.key, Purpose.MEMORIZATION), 5)
    on_fake, on_held_out, on_training, on_others, on_choice = keys
    most = max(1, _VALUES // int(np.prod(shape)))
    n = min(points, _POINTS, most)
    fake = as_written(examples_of(generate(gan, state, on_fake, n)), dataset, data)
    if not np.isfinite(fake).all():
        return {"memorization": "samples are not finite"}, None
    queries, reason = [fake], _no_statistic(unseen)
    if unseen is not None and not reason:
        m = min(n, unseen.size or n)
        queries.append(examples_of(next(unseen.draws(on_held_out, m, 1))))
    if judge is None:
        name = "pixels" if len(shape) == 3 else "points"
        judge = dataclasses.replace(points_features(shape), name=name)
    block = min(most, _ROWS)
    nearest = _search(data, on_training, block, queries, judge)
    result: dict[str, Any] = {"memorization/training": size}
    if reason or unseen is None:
        result["memorization"] = reason
    else:
        among_held_out = _search(unseen, on_others, block, [fake], judge)
        result["memorization/held_out"] = unseen.size
        result |= _statistics(judge.name, nearest, among_held_out, len(queries[1]))
    if len(shape) != 3:
        return result, None
    order = np.argsort(nearest.distances[:n, 0], kind="stable")
    at_random = order[_SHOWN:][np.asarray(jax.random.permutation(on_choice, max(n - _SHOWN, 0)))]
    shown = np.concatenate([order[:_SHOWN], at_random[:_SHOWN]])
    return result, NearestExamples(to_pixels(fake[shown]), nearest.images[shown])


def _no_statistic(unseen: Dataset | None) -> str:
    if unseen is None:
        return "no data are held out from training"
    if unseen.size is not None and unseen.size < _FEWEST:
        return f"only {unseen.size} examples are held out from training"
    return ""


def _statistics(
    features: str, nearest: _Nearest, among_held_out: _Nearest, held_out: int
) -> dict[str, float]:
    """Compute the statistics from the nearest examples.

    Args:
      features: name of the features.
      nearest: the nearest training examples of samples, held-out data and training data.
      among_held_out: the nearest held-out examples of the samples.
      held_out: number of held-out data in `nearest`.
    """
    n = len(nearest.images)
    samples, unseen = np.split(nearest.distances[: n + held_out, 0], [n])
    rest = nearest.distances[n + held_out :]
    is_itself = nearest.positions[n + held_out :] == np.arange(len(rest))[:, None]
    training = np.where(is_itself, np.inf, rest).min(1)
    against, others = (data_copying(samples, x) for x in (unseen, training))
    floor = data_copying(training, unseen)
    # Near to either kind: samples selected as near to training data would mostly have them nearest.
    to_either = np.minimum(samples, among_held_out.distances[:n, 0])
    is_near = to_either < against.threshold
    all_samples, near_samples = (
        nearest_membership(
            nearest.of(rows), among_held_out.of(rows), (nearest.size, among_held_out.size)
        )
        for rows in (np.arange(n), np.flatnonzero(is_near))
    )
    nearer, near, member = (f"{name}/{features}" for name in _NAMES)
    return {
        nearer: against.nearer,
        f"{nearer}/error": against.error,
        f"{nearer}/floor": floor.nearer,
        f"{nearer}/points": n,
        f"{nearer}/z": against.z,
        f"{nearer}/z/training": others.z,
        near: against.near,
        f"{near}/floor": floor.near,
        f"{near}/points": n,
        f"{near}/expected": against.expected,
        f"{near}/p": against.p_value,
        f"{near}/p/training": others.p_value,
        f"{near}/membership": near_samples.z,
        member: all_samples.held_out,
        f"{member}/floor": all_samples.expected,
        f"{member}/points": n,
        f"{member}/z": all_samples.z,
    }


class _Nearest:
    """The nearest examples of some queries, among those searched so far."""

    def __init__(self, size: int, queries: int, k: int, images: np.ndarray):
        self.size = size
        self.distances = np.full((queries, k), np.inf)
        self.positions = np.full((queries, k), -1)
        self.images = images  # [n, k, ...], for the first n queries

    def of(self, rows: np.ndarray) -> Neighbors:
        """Return the nearest examples of some queries."""
        return Neighbors(self.distances[rows], self.positions[rows])

    def add(self, start: int, examples: np.ndarray, new: Neighbors) -> None:
        """Merge the nearest of `examples`, which start at position `start`."""
        k, indices = self.distances.shape[1], np.asarray(new.indices)
        distances = np.concatenate([self.distances, np.asarray(new.distances)], 1)
        positions = np.concatenate([self.positions, start + indices], 1)
        order = distances.argsort(1, kind="stable")[:, :k]
        self.distances = np.take_along_axis(distances, order, 1)
        self.positions = np.take_along_axis(positions, order, 1)
        changed = np.flatnonzero((order[: len(self.images)] >= k).any(1))
        images = [self.images[changed], to_pixels(examples[indices[changed]])]
        rows = np.arange(len(changed))[:, None]
        self.images[changed] = np.concatenate(images, 1)[rows, order[changed]]


def _search(
    data: Dataset, key: Array, block: int, queries: list[np.ndarray], judge: Features
) -> _Nearest:
    """Find the nearest training examples of queries [n, ...], then of the first training examples.

    The latter are in random order and nearest to themselves. Images are kept only for the
    first set of queries.
    """
    size = data.size or 0
    block = min(size, block, max(1, (2**32 - 1) // size))  # a limit of epochs in order
    extract = make_extractor(dataclasses.replace(judge, classify=None))
    features, nearest = np.empty(0), _Nearest(size, 0, 0, np.empty(0))
    for i, batch in enumerate(data.draws(key, block, -(-size // block))):
        left = size - i * block  # the last block runs into the next epoch
        examples = examples_of(batch)[:left]
        searched = extract(examples).features
        if i == 0:
            parts = [*(extract(x).features for x in queries), searched[:_REFERENCE]]
            features, k = np.concatenate(parts), min(_NEIGHBORS, len(searched))
            shape = (len(queries[0]), k, *_image(examples).shape[1:])
            nearest = _Nearest(size, len(features), k, np.zeros(shape, np.uint8))
        new = nearest_neighbors(features, searched, k=min(_NEIGHBORS, len(searched)))
        nearest.add(i * block, _image(examples), new)
    return nearest


def _image(examples: np.ndarray) -> np.ndarray:
    """Return images as is, and an empty array for other examples."""
    return examples if examples.ndim == 4 else examples.reshape(len(examples), -1)[:, :0]
