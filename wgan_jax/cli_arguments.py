"""Arguments that several commands take: a workdir, whole numbers, the place of the data."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from wgan_jax.data.remote import expand_user, is_cached, is_remote, redacted
from wgan_jax.errors import UserError
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.workdir import require_plain

_LARGEST = 2**32 - 1


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
      UserError: no whole number, or one out of range.
    """
    is_number = text.isascii() and text.isdecimal() and len(text) < 20
    if not is_number or not least <= int(text) <= _LARGEST:
        raise UserError(
            f"--{name} takes a whole number from {least} to {_LARGEST}, got {text[:60]!r}"
        )
    return int(text)


def require_writable(path: Path) -> None:
    """Refuse a file that cannot be written before the work for it is done.

    Raises:
      UserError: its folder cannot be made, or takes no files.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


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
