"""Prepares the process of an entry point. Standard library only, as JAX takes seconds to load."""

from __future__ import annotations

import io
import itertools
import logging
import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

# Stop requests; all but the first two are left alone where the process ignores or handles them.
_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")


def prepare_process(*, stop_at_once: bool = False) -> None:
    """Make the streams safe and check the platform.

    Args:
      stop_at_once: whether a signal ends the process at once, with one line. For a program
        that installs handlers of its own once there is something to save.
    """
    protect_streams()
    _require_posix()
    # Our own handler prints our messages; whatever handles those of all libraries need not too.
    logging.getLogger("wgan_jax").propagate = False
    if stop_at_once:
        exit_on_signals()


def protect_streams() -> None:
    """Keep writes to stdout and stderr from ending the process.

    A descriptor that is closed is opened on the null device, or the next file that
    is opened would get its number and what is printed. A reader that goes away, a
    terminal that is closed or a full disk silences a stream. Characters that its
    encoding lacks are escaped.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout = tolerant_stream(1, getattr(sys.stdout, "encoding", "utf-8"))
    sys.stderr = tolerant_stream(2, getattr(sys.stderr, "encoding", "utf-8"), line_buffering=True)


def tolerant_stream(
    descriptor: int, encoding: str, *, line_buffering: bool = False
) -> io.TextIOWrapper:
    """A text stream over a descriptor that drops what can no longer be written."""
    raw = _TolerantFile(descriptor, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=encoding,
        errors="backslashreplace",
        line_buffering=line_buffering or raw.isatty(),
    )


class _TolerantFile(io.FileIO):
    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, self.fileno())  # for the writes of native code as well
            os.close(null)
            return len(memoryview(data))


def _require_posix() -> None:
    try:
        import fcntl  # noqa: F401
    except ImportError:
        exit_with_error(
            "the command line of wgan_jax needs Linux or macOS (on Windows: WSL 2); "
            "as a library it works here: import wgan_jax"
        )


def exit_on_signals() -> None:
    """End the process with one line when a signal asks to: there is nothing to save yet."""
    for name in _SIGNALS:
        number = getattr(signal, name)
        if name in _SIGNALS[:2] or signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _exit_at_once)


def _exit_at_once(number: int, _: object) -> None:
    try:
        os.write(2, f"stopped by {signal.Signals(number).name}\n".encode())
    finally:
        os._exit(128 + number)


def exit_if_locked(args: list[str]) -> None:
    """Exit early, before JAX is imported, if the workdir is locked."""
    lock = runpy.run_path(str(Path(__file__).parent / "experiment" / "lock.py"))
    for flag, value in itertools.pairwise([*args, ""]):
        name, equals, inline = flag.partition("=")
        if name != "--workdir":
            continue
        workdir = Path(os.path.expanduser(inline if equals else value))
        if reason := lock["lock_holder"](workdir):
            exit_with_error(reason)


def exit_with_error(reason: str) -> None:
    print(f"error: {reason}", file=sys.stderr)
    sys.exit(2)
