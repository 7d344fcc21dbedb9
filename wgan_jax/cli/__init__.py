"""The command-line interface, one file per command."""

from wgan_jax.cli.common import run_command
from wgan_jax.cli.train import train

__all__ = ["run_command", "train"]
