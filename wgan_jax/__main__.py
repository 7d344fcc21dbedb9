"""`python -m wgan_jax COMMAND`: everything that is done with a run but training it."""

from __future__ import annotations

import sys

from wgan_jax import cli
from wgan_jax.errors import UserError
from wgan_jax.experiment.codec import suggest

_COMMANDS = {
    "sample": cli.sample,
    "evaluate": cli.evaluate,
    "reproduce": cli.reproduce,
    "prepare": cli.prepare,
}
_HELP = """usage: python -m wgan_jax COMMAND ...

  sample    WORKDIR [--num N] [--seed S] --out FILE.png|.npz
            draw samples from the newest checkpoint
  evaluate  WORKDIR
            exact W1 of samples and data beside its floor, modes found
  reproduce FIGURE [--out DIR] [--size quick|default|full] [--seeds N] [--data-dir DIR]
            compute a figure of the papers anew: DIR/FIGURE.png and DIR/FIGURE.json
  prepare   DATASET [--manual-dir DIR] [--data-dir DIR]
            write mnist, fashion_mnist or cifar10 for training, without TensorFlow

Train with python train.py; python train.py --help lists its flags."""


def main(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help") or {"-h", "--help"} & set(args[1:]):
        print(_HELP)
        return 0
    name, *rest = args
    if name not in _COMMANDS:
        raise UserError(f"unknown command {name!r}; {suggest(name, list(_COMMANDS))}")
    return _COMMANDS[name](rest)


if __name__ == "__main__":
    sys.exit(cli.guarded(main, sys.argv[1:]))
