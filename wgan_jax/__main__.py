"""Entry point of `wgan-jax COMMAND`, also run as `python -m wgan_jax COMMAND`."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable

import wgan_jax
from wgan_jax import startup

if __name__ == "__main__":
    startup.prepare_process(stop_at_once=sys.argv[1:2] == ["train"])

from wgan_jax.cli.common import run_command
from wgan_jax.cli.compare import compare
from wgan_jax.cli.evaluate import evaluate
from wgan_jax.cli.export import export
from wgan_jax.cli.features import features
from wgan_jax.cli.prepare import prepare
from wgan_jax.cli.report import report
from wgan_jax.cli.reproduce import reproduce
from wgan_jax.cli.sample import sample
from wgan_jax.cli.train import train
from wgan_jax.errors import UserError, suggest
from wgan_jax.experiment.distributed.placement import require_devices

_COMMANDS = {
    command.__name__: command
    for command in (report, sample, evaluate, compare, export, features, reproduce, prepare)
}
_WITHOUT_DEVICES = ("report", "prepare")


def main(args: list[str]) -> int:
    if not args or args[0] in ("-h", "--help"):
        print(_help())
        return 0
    if args == ["--version"]:
        print(f"wgan_jax {wgan_jax.__version__}")
        return 0
    name, *rest = args
    if name == "train":  # its flags are the fields of a config
        return run_command(train, rest)
    if name not in _COMMANDS:
        raise UserError(f"unknown command {name!r}; {suggest(name, ['train', *_COMMANDS])}")
    if {"-h", "--help"} & set(rest):
        print(_about(_COMMANDS[name]))
        return 0
    _require_known_flags(name, rest)
    if name not in _WITHOUT_DEVICES:
        require_devices()
    return _COMMANDS[name](rest)


def _require_known_flags(name: str, args: list[str]) -> None:
    """Reject flags that the command's help does not mention."""
    known = sorted(set(re.findall(r"--[a-z0-9-]+", _about(_COMMANDS[name]))))
    for word in args:
        flag = word.partition("=")[0]
        if flag.startswith("--") and flag not in known:
            raise UserError(f"{name} has no flag {flag}; {suggest(flag, known)}")


def _help() -> str:
    """List the commands, each with the first line of its docstring."""
    rows = [f"  {'train':<10}Train a WGAN or resume a run."]
    rows += [
        f"  {name:<10}{_about(command).splitlines()[0]}" for name, command in _COMMANDS.items()
    ]
    return "\n".join(
        [
            "usage: wgan-jax COMMAND ...",
            "",
            *rows,
            "",
            "wgan-jax COMMAND --help describes a command. In a clone, python train.py and",
            "python -m wgan_jax COMMAND do the same.",
        ]
    )


def _about(command: Callable[[list[str]], int]) -> str:
    return inspect.getdoc(command) or ""


def run() -> None:
    """Run the console script."""
    startup.prepare_process(stop_at_once=sys.argv[1:2] == ["train"])
    sys.exit(run_command(main, sys.argv[1:]))


if __name__ == "__main__":
    sys.exit(run_command(main, sys.argv[1:]))
