"""Train a WGAN: `python train.py [--config FILE] [--workdir DIR] [--FIELD VALUE ...]`."""

import sys

from wgan_jax import cli

if __name__ == "__main__":
    sys.exit(cli.guarded(cli.train, sys.argv[1:]))
