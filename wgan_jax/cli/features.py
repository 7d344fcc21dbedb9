"""`python -m wgan_jax features`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wgan_jax.cli import flags
from wgan_jax.cli.common import int_option, require_writable
from wgan_jax.errors import UserError

_CHANNELS = {"mnist": 1, "fashion_mnist": 1, "cifar10": 3}


def features(args: list[str]) -> int:
    """Train a small classifier on a labeled data set, for metrics on its features.

    usage: python -m wgan_jax features DATASET --out FILE [--force] [--data-dir DIR]
                                      [--image-size N] [--channels N]

    DATASET       digits, or a prepared TFDS data set such as fashion_mnist
    --out         FILE.safetensors or FILE.npz; --force overwrites an existing file
    --data-dir    folder of prepared TFDS data sets (default: that of TFDS)
    --image-size  image size of the runs to evaluate (32)
    --channels    channels of the images (1 for mnist and fashion_mnist, else 3)
    """
    from wgan_jax.experiment.evaluation.features import train_lenet
    from wgan_jax.experiment.evaluation.weights import require_suffix

    out, args = flags.path_option(args, "out")
    data_dir, args = flags.path_option(args, "data-dir")
    size, args = int_option(args, "image-size", 4)
    channels, args = int_option(args, "channels", 1)
    force, args = flags.switch(args, "force")
    if len(args) != 1 or args[0].startswith("-"):
        raise UserError("features takes one data set: digits, fashion_mnist or another from TFDS")
    if out is None:
        raise UserError("features needs --out FILE.safetensors or --out FILE.npz")
    require_suffix(Path(out))
    if Path(out).exists() and not force:
        raise UserError(f"{out} exists; choose another --out, or add --force to replace it")
    require_writable(Path(out))
    dataset = _dataset(args[0], data_dir, size, channels)
    trained = train_lenet(dataset, Path(out))
    print(f"{out}  SHA-256 of the arrays {trained.about['sha256']}")
    return 0


def _dataset(name: str, data_dir: str | None, size: int | None, channels: int | None) -> Any:
    from wgan_jax.data.images import TFDS, Digits

    if name == "digits":
        return Digits(labels=True)
    size, channels = size or 32, channels or _CHANNELS.get(name, 3)
    try:
        return TFDS(name=name, image_size=size, channels=channels, labels=True, data_dir=data_dir)
    except ValueError as error:
        raise UserError(str(error)) from error
