"""Shared by commands: errors in one line, messages on the console, common arguments."""

from __future__ import annotations

import logging
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import jax

from wgan_jax.cli import flags
from wgan_jax.cli.compile_cache import keep_compiled_programs
from wgan_jax.data.remote import expand_user, redacted, require_local
from wgan_jax.errors import UserError
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.workdir import require_plain

if TYPE_CHECKING:
    from wgan_jax.experiment.evaluation.features import Features

_LARGEST = 2**32 - 1


def run_command(command: Callable[[list[str]], int], args: list[str]) -> int:
    """Run a command; bad input becomes one line on stderr and exit status 2.

    Messages go to stderr, those of `train` to stdout.
    """
    keep_compiled_programs()
    _log_to("stdout" if command.__name__ == "train" else "stderr")
    try:
        return command(args)
    except UserError as error:
        return _refuse(str(error))
    except OSError as error:  # of a path that no system takes, or a disk that goes away
        name = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{name}{error.strerror or error}")
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _refuse(
            f"more memory is asked for than there is: make the batch, the networks or the number "
            f"of samples smaller ({error})"
        )
    except KeyboardInterrupt:
        return 130


def _refuse(reason: str) -> int:
    words = (word if len(word) < 300 else f"{word[:100]}...{word[-50:]}" for word in reason.split())
    print(f"error: {redacted(' '.join(words))}", file=sys.stderr)
    return 2


def workdir(command: str, args: list[str]) -> Path:
    """The only argument of a command, the folder of a run.

    Raises:
      UserError: none or several arguments, no such folder, or one that is not plain.
    """
    if len(args) != 1 or args[0].startswith("-"):
        raise UserError(f"{command} takes one workdir, got {' '.join(args) or 'none'}")
    require_local(args[0])
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


def features_file(
    args: list[str],
) -> tuple[Callable[[], Features | None], list[str]]:
    """How to open what `--features`, `--sha256` and `--scaling` name, and the rest of `args`.

    Raises:
      UserError: one of the others without `--features`; opening it, what `open_features` refuses.
    """
    file, args = flags.path_option(args, "features")
    sha256, args = flags.option(args, "sha256")
    scaling, args = flags.option(args, "scaling")
    if file is None and (sha256 or scaling):
        raise UserError(f"--{'sha256' if sha256 else 'scaling'} goes with --features FILE")

    def open_file() -> Features | None:
        from wgan_jax.experiment.evaluation.features import open_features

        return None if file is None else open_features(Path(file), sha256, scaling=scaling)

    return open_file, args


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
    if url := config.dataset.address_to_copy():
        raise UserError(
            f"the config takes its data from {redacted(url)}, which is opened only if you name "
            f"it yourself: add {flag} {redacted(url)}"
        )


class _ConsoleHandler(logging.Handler):
    """Prints messages as plain lines, above a progress bar if there is one."""

    def __init__(self, stream: str):
        super().__init__(logging.INFO)
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        if (file := getattr(sys, self._stream)) is not None:
            tqdm.write(self.format(record), file=file)
            file.flush()


def _log_to(stream: str) -> None:
    logger = logging.getLogger("wgan_jax")
    logger.handlers = [_ConsoleHandler(stream)]
    logger.setLevel(logging.INFO)
