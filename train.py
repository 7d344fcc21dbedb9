"""Train a WGAN: `python train.py [--config FILE] [--workdir DIR] [--FIELD VALUE ...]`."""

import itertools
import os
import runpy
import signal
import sys
from pathlib import Path


def _leave(number: int, _: object) -> None:
    """Before training there is nothing to save, and after it all is saved."""
    os.write(sys.stderr.fileno(), f"stopped by {signal.Signals(number).name}\n".encode())
    os._exit(128 + number)


def _leave_on_signals() -> None:
    """Also when a terminal closes or Slurm warns; under nohup SIGHUP stays ignored."""
    for name in ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2"):
        number = getattr(signal, name, None)
        if number and (name in ("SIGTERM", "SIGINT") or signal.getsignal(number) is signal.SIG_DFL):
            signal.signal(number, _leave)


def _turn_away(args: list[str]) -> None:
    """Leave at once where another process trains, without the seconds that JAX takes to load."""
    lock = runpy.run_path(str(Path(__file__).parent / "wgan_jax" / "experiment" / "lock.py"))
    for flag, value in itertools.pairwise(args):
        if flag == "--workdir" and (reason := lock["held"](Path(value))):
            sys.exit(_refuse(reason))


def _refuse(reason: str) -> int:
    print(f"error: {reason}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    _leave_on_signals()
    _turn_away(sys.argv[1:])
    from wgan_jax import cli

    sys.exit(cli.guarded(cli.train, sys.argv[1:]))
