"""Arguments that several commands take: a workdir, whole numbers, the place of the data."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wgan_jax.data.remote import expand_user, is_cached, is_remote, redacted
from wgan_jax.errors import UserError
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.workdir import require_plain


def workdir(command: str, args: list[str]) -> Path:
    """The only argument of a command, the folder of a run.

    Raises:
      UserError: none or several arguments, no such folder, or one that is not plain.
    """
    if len(args) != 1 or args[0].startswith("-"):
        raise UserError(f"{command} takes one workdir, got {' '.join(args) or 'none'}")
    folder = Path(expand_user(args[0]))
    if not args[0] or not folder.is_dir():
        raise UserError(f"there is no workdir {args[0]!r}")
    require_plain(folder)
    return folder


def parse_nonnegative_int(name: str, text: str, least: int = 0) -> int:
    """The value of `--name`.

    Raises:
      UserError: no whole number, or one below `least`.
    """
    if not text.isdecimal() or int(text) < least:
        raise UserError(f"--{name} takes a whole number of at least {least}, got {text!r}")
    return int(text)


def require_local_data(config: Config, flag: str) -> None:
    """Refuse to open an address that a config.json names and nobody asked for.

    Raises:
      UserError: its data set is at an address, and there is no copy of it here.
    """
    dataset: Any = config.dataset
    url = getattr(dataset, "data_dir", None)
    if url and is_remote(url) and not is_cached(url, dataset.name.partition(":")[0]):
        raise UserError(
            f"the config takes its data from {redacted(url)}, which is opened only if you name "
            f"it yourself: add {flag} {redacted(url)}"
        )
