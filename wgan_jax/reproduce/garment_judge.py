"""Distances of images to the test images of Fashion-MNIST, on features and by W1."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np

from wgan_jax.data.dataset import Dataset
from wgan_jax.data.images import TFDS
from wgan_jax.errors import UserError
from wgan_jax.experiment.evaluation.certified import CertifiedW1
from wgan_jax.experiment.evaluation.features import default_features
from wgan_jax.gan import GAN
from wgan_jax.metrics import extract, frechet_distance
from wgan_jax.reproduce.figure import Settings
from wgan_jax.types import GANState


def fashion_mnist(settings: Settings) -> TFDS:
    """Return the prepared Fashion-MNIST at 32 pixels."""
    return TFDS(name="fashion_mnist", image_size=32, channels=1, data_dir=settings.data_dir)


class Judge:
    """Holds the test images, and features from a classifier of the training images.

    Args:
      dataset: Fashion-MNIST.
      folder: where the classifier is stored; it is trained if it is missing.

    Attributes:
      data: the training images.
      spread: mean pixel standard deviation of the test images.
    """

    def __init__(self, dataset: TFDS, folder: Path):
        held_out, self.data = dataset.open_held_out(), dataset.open()
        if held_out is None:
            raise UserError("the test images of fashion_mnist are missing: prepare it again")
        self._held_out: Dataset = held_out
        self._features = default_features(dataset, folder)
        key = jax.random.key(1)
        images = np.asarray(next(held_out.draws(key, held_out.size or 0, 1)))
        self._test_features, self.spread = self._extract(images), float(images.std(0).mean())

    def frechet(self, images: Any) -> float:
        """Return the Fréchet distance of images [n, 32, 32, 1] in [-1, 1] to all test images.

        It is NaN if the images are not finite, as after a run that has diverged.
        """
        if not np.isfinite(images).all():
            return float("nan")
        return float(frechet_distance(self._extract(images), self._test_features))

    def floor(self, n: int) -> float:
        """Return the same distance of n training images."""
        return self.frechet(next(self.data.draws(jax.random.key(1), n, 1)))

    def w1(self, gan: GAN, state: GANState) -> dict[str, float]:
        """Return value, lower and upper bound of W1 between images, as in an evaluation."""
        missing = dict.fromkeys(("w1/value", "w1/lower", "w1/upper"), float("nan"))
        return missing | CertifiedW1(gan, self._held_out)(state)

    def about(self) -> str:
        accuracy = float(self._features.about["accuracy"])
        return f"LeNet, {accuracy:.1%} accurate on test images"

    def _extract(self, images: Any) -> np.ndarray:
        return np.asarray(extract(self._features.apply, np.asarray(images)))
