"""Process setup for entry points. Standard library only, as JAX takes seconds to import."""

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

# Requests to stop; all but the first two are left alone if already ignored or handled.
_SIGNALS = ("SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")


def prepare_process(*, stop_at_once: bool = False) -> None:
    """Make the streams safe and check the platform.

    Args:
      stop_at_once: whether a signal ends the process immediately, with one line. For a
        program that installs its own handlers once there is something to save.
    """
    protect_streams()
    _require_posix()
    # Our own handler prints our messages; root handlers should not repeat them.
    logging.getLogger("wgan_jax").propagate = False
    if stop_at_once:
        exit_on_signals()


def protect_streams() -> None:
    """Keep writes to stdout and stderr from ending the process.

    Closed descriptors are opened on the null device; otherwise the next file opened
    would get their number and receive the output. If the reader goes away, the
    terminal closes or the disk is full, the stream is silenced. Characters that the
    encoding lacks are escaped.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number
    sys.stdout = tolerant_stream(1, getattr(sys.stdout, "encoding", "utf-8"))
    sys.stderr = tolerant_stream(2, getattr(sys.stderr, "encoding", "utf-8"), line_buffering=True)


def tolerant_stream(
    descriptor: int, encoding: str, *, line_buffering: bool = False
) -> io.TextIOWrapper:
    """Return a text stream over a descriptor that drops what can no longer be written."""
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
            os.dup2(null, self.fileno())  # for writes of native code as well
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
    """Exit with one line on a signal, while there is nothing to save yet."""
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
