"""Folders of noise images in classes, written and opened."""

import numpy as np
from PIL import Image

from wgan_jax.data import Folder

SIDE = 16


def noise(seed, channels=3, shape=(SIDE, SIDE)):
    pixels = np.random.default_rng(seed).integers(0, 256, (*shape, channels), np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def write(path, seed=0, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(seed)).save(path, **options)
    return path


def classes(root, count=4, names=("cat", "dog")):
    for k, name in enumerate(names):
        for i in range(count):
            write(root / name / f"{i}.png", 100 * k + i)
    return root


def opened(path, **options):
    return Folder(path=str(path), image_size=SIDE, **options).open()
