"""Error handling, console logging and arguments shared by the commands."""

from __future__ import annotations

import logging
import re
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
_OUT_OF_MEMORY = re.compile("RESOURCE_EXHAUSTED|Out of memory")  # the CPU reports it as INTERNAL


def run_command(command: Callable[[list[str]], int], args: list[str]) -> int:
    """Run a command; bad input becomes one line on stderr and exit status 2.

    Log messages go to stderr, except those of `train`, which go to stdout.
    """
    keep_compiled_programs()
    _log_to("stdout" if command.__name__ == "train" else "stderr")
    try:
        return command(args)
    except UserError as error:
        return _refuse(str(error))
    except OSError as error:  # such as a path that is too long, or a disk that disappears
        name = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{name}{error.strerror or error}")
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and not _OUT_OF_MEMORY.search(str(error)):
            raise
        return _refuse(
            f"out of memory: reduce the batch size, the networks or the number of samples ({error})"
        )
    except KeyboardInterrupt:
        return 130


def _refuse(reason: str) -> int:
    words = (word if len(word) < 300 else f"{word[:100]}...{word[-50:]}" for word in reason.split())
    print(f"error: {redacted(' '.join(words))}", file=sys.stderr)
    return 2


def workdir(command: str, args: list[str]) -> Path:
    """Return the workdir that is the only argument of a command.

    Raises:
      UserError: there are no or several arguments, the folder does not exist, or its own
        files are links or devices.
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
    """Parse the value of `--name`.

    Raises:
      UserError: it is not an integer, or out of range.
    """
    is_number = text.isascii() and text.isdecimal() and len(text) < 20
    if not is_number or not least <= int(text) <= _LARGEST:
        raise UserError(
            f"--{name} takes a whole number from {least} to {_LARGEST}, got {text[:60]!r}"
        )
    return int(text)


def int_option(args: list[str], name: str, least: int = 0) -> tuple[int | None, list[str]]:
    """Like `flags.option`, for a whole number of at least `least`."""
    text, args = flags.option(args, name)
    return None if text is None else parse_nonnegative_int(name, text, least), args


def features_file(
    args: list[str],
) -> tuple[Callable[[], Features | None], list[str]]:
    """Parse `--features`, `--sha256` and `--scaling` into a function that opens them, and the rest.

    Raises:
      UserError: `--sha256` or `--scaling` is given without `--features`.
    """
    file, args = flags.path_option(args, "features")
    sha256, args = flags.option(args, "sha256")
    scaling, args = flags.option(args, "scaling")
    if file is None and (sha256 or scaling):
        raise UserError(f"--{'sha256' if sha256 else 'scaling'} requires --features FILE")

    def open_file() -> Features | None:
        from wgan_jax.experiment.evaluation.features import open_features

        return None if file is None else open_features(Path(file), sha256, scaling=scaling)

    return open_file, args


def require_writable(path: Path) -> None:
    """Check that a file can be written, before doing the work for it.

    Raises:
      UserError: its folder cannot be created, or no file can be written into it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error


def require_local_data(config: Config, flag: str) -> None:
    """Refuse to open a remote address that only a config.json names.

    Raises:
      UserError: the data set is at an address, and there is no local copy of it.
    """
    if url := config.dataset.address_to_copy():
        raise UserError(
            f"the config takes its data from {redacted(url)}, which is opened only if you name "
            f"it yourself: add {flag} {redacted(url)}"
        )


class _ConsoleHandler(logging.Handler):
    """Prints messages as plain lines, above the progress bar if there is one."""

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
