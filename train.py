"""Train a WGAN: `python train.py [--config FILE] [--workdir DIR] [--FIELD VALUE ...]`."""

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    # Run by path: importing it would import the package, and with it JAX.
    startup = runpy.run_path(str(Path(__file__).parent / "wgan_jax" / "startup.py"))
    startup["prepare_process"](stop_at_once=True)
    startup["exit_if_locked"](sys.argv[1:])
    from wgan_jax import cli

    sys.exit(cli.run_command(cli.train, sys.argv[1:]))
