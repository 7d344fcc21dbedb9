"""Judges how far images are from the test images of Fashion-MNIST: by features, and by W1."""

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
    """Fashion-MNIST at 32 pixels, as it was prepared."""
    return TFDS(name="fashion_mnist", image_size=32, channels=1, data_dir=settings.data_dir)


class Judge:
    """Holds the test images, and a classifier of the training images that gives features.

    Args:
      dataset: Fashion-MNIST.
      folder: where the classifier is kept, or trained when it is not there.

    Attributes:
      data: the training images.
      spread: of the test images: the mean standard deviation of a pixel.
    """

    def __init__(self, dataset: TFDS, folder: Path):
        unseen, self.data = dataset.open_held_out(), dataset.open()
        if unseen is None:
            raise UserError("the test images of fashion_mnist are not there: prepare it again")
        self._unseen: Dataset = unseen
        self._features = default_features(dataset, folder)
        key = jax.random.key(1)
        images = np.asarray(next(unseen.draws(key, unseen.size or 0, 1)))
        self._seen, self.spread = self._look(images), float(images.std(0).mean())

    def frechet(self, images: Any) -> float:
        """Fréchet distance on features, of images [n, 32, 32, 1] in [-1, 1] to all test images.

        It is not a number where the images are not, as those of a run that has diverged.
        """
        if not np.isfinite(images).all():
            return float("nan")
        return float(frechet_distance(self._look(images), self._seen))

    def floor(self, n: int) -> float:
        """The same of n training images."""
        return self.frechet(next(self.data.draws(jax.random.key(1), n, 1)))

    def w1(self, gan: GAN, state: GANState) -> dict[str, float]:
        """Value, lower and upper bound of W1 between images, as an evaluation tells them."""
        nowhere = dict.fromkeys(("w1/value", "w1/lower", "w1/upper"), float("nan"))
        return nowhere | CertifiedW1(gan, self._unseen)(state)

    def about(self) -> str:
        accuracy = float(self._features.about["accuracy"])
        return f"LeNet, {accuracy:.1%} accurate on test images"

    def _look(self, images: Any) -> np.ndarray:
        return np.asarray(extract(self._features.apply, np.asarray(images)))
