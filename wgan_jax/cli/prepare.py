"""`python -m wgan_jax prepare`."""

from __future__ import annotations

from wgan_jax.cli import flags
from wgan_jax.errors import UserError


def prepare(args: list[str]) -> int:
    """Prepare a data set for training, without TensorFlow.

    usage: python -m wgan_jax prepare DATASET [--manual-dir DIR] [--data-dir DIR]

    DATASET           mnist, fashion_mnist or cifar10
    --manual-dir DIR  folder of the official files, for a machine without network access
    --data-dir DIR    folder to write to (default: that of TFDS)
    """
    manual_dir, args = flags.path_option(args, "manual-dir")
    data_dir, args = flags.path_option(args, "data-dir")
    from wgan_jax.data.prepare import PREPARABLE
    from wgan_jax.data.prepare import prepare as prepare_dataset

    if len(args) != 1 or args[0].startswith("-"):
        raise UserError(f"prepare takes one data set: {', '.join(PREPARABLE)}")
    print(prepare_dataset(args[0], data_dir=data_dir, manual_dir=manual_dir))
    return 0
