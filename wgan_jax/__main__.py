"""`python -m wgan_jax COMMAND`: everything that is done with a run but training it."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable

from wgan_jax import startup

if __name__ == "__main__":
    startup.prepare_process()

from wgan_jax.cli.common import run_command
from wgan_jax.cli.evaluate import evaluate
from wgan_jax.cli.features import features
from wgan_jax.cli.prepare import prepare
from wgan_jax.cli.report import report
from wgan_jax.cli.reproduce import reproduce
from wgan_jax.cli.sample import sample
from wgan_jax.errors import UserError
from wgan_jax.experiment.config_io import suggest
from wgan_jax.experiment.distributed.placement import require_devices

_COMMANDS = {
    command.__name__: command
    for command in (report, sample, evaluate, features, reproduce, prepare)
}
_WITHOUT_DEVICES = ("report", "prepare")


def main(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(_help())
        return 0
    name, *rest = args
    if name not in _COMMANDS:
        raise UserError(f"unknown command {name!r}; {suggest(name, list(_COMMANDS))}")
    if {"-h", "--help"} & set(rest):
        print(_about(_COMMANDS[name]))
        return 0
    _require_known_flags(name, rest)
    if name not in _WITHOUT_DEVICES:
        require_devices()
    return _COMMANDS[name](rest)


def _require_known_flags(name: str, args: list[str]) -> None:
    """A command's flags are those that its help names."""
    known = sorted(set(re.findall(r"--[a-z0-9-]+", _about(_COMMANDS[name]))))
    for word in args:
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            raise UserError(f"{name} has no flag {flag}; {suggest(flag, known)}")


def _help() -> str:
    """Every command with the first line of what it says of itself."""
    rows = [f"  {name:<10}{_about(command).splitlines()[0]}" for name, command in _COMMANDS.items()]
    return "\n".join(
        [
            "usage: python -m wgan_jax COMMAND ...",
            "",
            *rows,
            "",
            "python -m wgan_jax COMMAND --help tells more of one.",
            "Train with python train.py; python train.py --help lists its flags.",
        ]
    )


def _about(command: Callable[[list[str]], int]) -> str:
    return inspect.getdoc(command) or ""


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
