"""Feature extractors for metrics: a LeNet trained on the data set, or a network from a file."""

from __future__ import annotations

import dataclasses
import logging
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from wgan_jax.data.arrays import ArrayDataset, to_unit_range
from wgan_jax.data.dataset import DatasetConfig
from wgan_jax.errors import UserError
from wgan_jax.experiment.evaluation.weights import read_arrays, write_arrays
from wgan_jax.networks.inception import Inception, inception_variables
from wgan_jax.networks.inception_scaling import SCALINGS
from wgan_jax.networks.lenet import LeNet
from wgan_jax.types import Array, PyTree

logger = logging.getLogger(__name__)

_SCALE = "features/scale"
_BATCH, _EPOCHS, _LEAST_STEPS, _RATE = 128, 4, 800, 2e-3


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Feature extractor; as a function with a name, also the `features` of `estimate_w1`.

    Attributes:
      name: part of the name of each metric computed on the features.
      apply: maps images [n, h, w, channels] in [-1, 1] to features [n, d]; jittable.
      classify: maps images to probabilities [n, classes]; None without a classifier.
      image: image shape that it was trained on; None for any.
      about: metadata of its file: how it was made, and the `sha256` of its weights. Metrics
        are only comparable if that is equal.
      batch: images processed at once.
    """

    name: str
    apply: Callable[[Array], Array]
    classify: Callable[[Array], Array] | None
    image: tuple[int, ...] | None
    about: dict[str, str]
    batch: int = 500

    @property
    def sees_images(self) -> bool:
        """Whether it is a network on images, rather than the identity on points."""
        return self.image is None or len(self.image) == 3

    def __call__(self, x: Array) -> Array:
        return self.apply(x)


def open_features(
    path: Path, sha256: str | None = None, *, scaling: str | None = None, follow: bool = True
) -> Features:
    """Load features from a file written by `train_lenet`, or from Inception's weights.

    Args:
      path, sha256, follow: as in `read_arrays`.
      scaling: how images are resized for Inception, which is part of its features' name:
        by default `inception`, as in pytorch-fid, else for instance `inception-clean-fid`.

    Raises:
      UserError: the file is missing, damaged, or has another SHA-256 or other shapes; the scaling
        is unknown, or the network takes images as is.
    """
    if scaling not in (None, *SCALINGS):
        raise UserError(f"scaling {scaling!r} is unknown; known: {', '.join(SCALINGS)}")
    arrays, about = read_arrays(path, sha256, follow=follow)
    try:
        if about.get("network") == "lenet":
            if scaling is not None:
                raise UserError(f"{path} holds LeNet, which takes images as is: leave scaling out")
            return lenet_features(arrays, about)
        variables = jax.device_put(inception_variables(arrays))
    except (ValueError, KeyError) as error:
        raise UserError(f"{path} holds no LeNet and no Inception weights: {error}") from error
    about = {"sha256": sha256 or "", **about}
    scaling = scaling or "pytorch-fid"
    name = "inception" if scaling == "pytorch-fid" else f"inception-{scaling}"
    network = Inception(scaling=scaling)
    return Features(name, _applied(network, variables), None, None, about, batch=50)


def lenet_features(arrays: dict[str, np.ndarray], about: dict[str, str]) -> Features:
    """Return LeNet's last hidden layer, in units of its root mean square on the data.

    Raises:
      ValueError: the arrays have other names or shapes than the network's.
    """
    image = tuple(int(side) for side in about["image"].split("x"))
    network = LeNet(classes=int(about["classes"]))
    struct = jax.ShapeDtypeStruct((1, *image), jnp.float32)
    expected = _flat(jax.eval_shape(network.init, jax.random.key(0), struct))
    expected[_SCALE] = jax.ShapeDtypeStruct((), np.float32)
    for name in [*expected, *arrays]:
        shapes = [side[name].shape if name in side else "nothing" for side in (expected, arrays)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"{name} should be {shapes[0]}, but is {shapes[1]}")
    scale = arrays[_SCALE].item()
    weights = {name: array for name, array in arrays.items() if name != _SCALE}
    variables = jax.device_put(flax.traverse_util.unflatten_dict(weights, sep="/"))
    apply = _applied(network, variables)
    return Features(
        "lenet",
        lambda x: apply(x)[0] / scale,
        lambda x: jax.nn.softmax(apply(x)[1]),
        image,
        about,
    )


def _applied(network: Any, variables: PyTree) -> Callable[[Array], Any]:
    return lambda x: network.apply(variables, x)


def train_lenet(dataset: DatasetConfig, path: Path, *, seed: int = 0) -> Features:
    """Train a LeNet on a labeled data set, and write it to a file.

    Args:
      dataset: a config node with `labels=True`, `Digits` or `TFDS`.
      path: .safetensors or .npz.

    Raises:
      UserError: the data set cannot be opened, or the file cannot be written.
    """
    data = _examples(dataset.open(), dataset)
    images, labels = data.examples
    classes, size = int(labels.max()) + 1, len(labels)
    network = LeNet(classes=classes)
    steps = max(_LEAST_STEPS, _EPOCHS * math.ceil(size / _BATCH))
    shape = "x".join(map(str, images.shape[1:]))
    logger.info(
        f"training LeNet on {size:,} images of {shape}, {steps:,} steps of {min(_BATCH, size)}"
    )
    variables = _fit(network, jax.device_put(data), seed, steps)
    held_out = dataset.open_held_out()
    measured = data if held_out is None else _examples(held_out, dataset)
    accuracy = float(_evaluate(network, variables, measured)[1].mean())
    logger.info(
        f"accuracy {accuracy:.2%} on {'the training' if held_out is None else 'unseen'} images"
    )
    about = {
        "network": "lenet",
        "dataset": dataset.title,
        "image": shape,
        "classes": str(classes),
        "accuracy": f"{accuracy:.4f}",
        "seed": str(seed),
    }
    arrays = {name: np.asarray(array) for name, array in _flat(variables).items()}
    mean_square = _evaluate(network, variables, data)[0].mean(dtype=np.float64)
    arrays[_SCALE] = np.asarray(mean_square**0.5, np.float32)
    write_arrays(path, arrays, about)
    return open_features(path)


def _examples(data: Any, dataset: DatasetConfig) -> ArrayDataset:
    if data.is_stream:
        raise UserError(f"{dataset.title} is too large for a classifier; give --features FILE")
    return data


def _fit(network: LeNet, data: ArrayDataset, seed: int, steps: int) -> PyTree:
    root = jax.random.key(seed)
    on_weights, on_data = jax.random.split(root)
    batch = min(_BATCH, data.size)
    tx = optax.adam(optax.cosine_decay_schedule(_RATE, steps))

    def loss(variables: PyTree, images: Array, labels: Array) -> Array:
        logits = _applied(network, variables)(images)[1]
        return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

    @jax.jit
    def fit(variables: PyTree, data: ArrayDataset) -> PyTree:
        def step(carry: tuple[PyTree, PyTree], i: Array) -> tuple[tuple[PyTree, PyTree], None]:
            variables, state = carry
            grads = jax.grad(loss)(variables, *data.at(on_data, i, batch))
            updates, state = tx.update(grads, state, variables)
            return (optax.apply_updates(variables, updates), state), None

        carry = (variables, tx.init(variables))
        return lax.scan(step, carry, jnp.arange(steps))[0][0]

    image = jnp.zeros((1, *jax.tree.leaves(data.examples)[0].shape[1:]))
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        return fit(network.init(on_weights, image), data)


def _evaluate(
    network: LeNet, variables: PyTree, data: ArrayDataset
) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean square of each image's features [n], and whether its class is right [n]."""
    images, labels = data.examples

    def evaluate(pair: tuple[Array, Array]) -> tuple[Array, Array]:
        features, logits = _applied(network, variables)(to_unit_range(pair[0])[None])
        return (features**2).mean(), logits[0].argmax() == pair[1]

    pairs = (jnp.asarray(images), jnp.asarray(labels))
    return jax.device_get(lax.map(evaluate, pairs, batch_size=500))


def default_features(dataset: DatasetConfig, workdir: Path) -> Features:
    """Return a LeNet for the run's own data set, trained at first use and cached for all runs.

    It is cached next to the prepared data, or in the workdir if that cannot be written.

    Raises:
      UserError: the data set has no labels to train on.
    """
    path, labelled = _cache_path(dataset, workdir), dataset.with_labels()
    if os.path.lexists(path):
        return open_features(path, follow=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    features = train_lenet(labelled, path)
    logger.info(f"saved to {path}")
    return features


def _cache_path(dataset: DatasetConfig, workdir: Path) -> Path:
    data = dataset.kept_beside()
    if data is None:
        return workdir / "features-lenet.safetensors"
    cache = data.parent
    ours = os.access(cache if cache.is_dir() else cache.parent, os.W_OK) and not cache.is_symlink()
    return (cache if ours else workdir) / f"{data.name}-lenet.safetensors"


def _flat(variables: PyTree) -> dict[str, Any]:
    return flax.traverse_util.flatten_dict(variables, sep="/")
