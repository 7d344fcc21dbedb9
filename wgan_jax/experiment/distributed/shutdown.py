"""Immediate shutdown of one of several processes, with a one-line message.

When a host is lost, the JAX runtime of the others either raises from a collective
or ends the process from a background thread, after pages of output on stderr. An
orderly exit would wait minutes for the lost host.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from typing import NoReturn

import jax

from wgan_jax.errors import UserError, one_line
from wgan_jax.experiment.distributed import processes
from wgan_jax.startup import tolerant_stream

PEER_LOST = (
    "another host of the run stopped responding, so this one stops; start all of them again, and "
    "the run resumes from its newest checkpoint, or from the start if it has none"
)
_LOST, _BAD_INPUT, _GRACE_SECONDS = 1, 2, 1.0
_SIGNS = ("gloo", "nccl", "coordination", "distributed service", "unavailable:", "heartbeat")


class StderrCapture:
    """Captures file descriptor 2 so that only our message reaches stderr."""

    def __init__(self) -> None:
        self._stderr = os.dup(2)
        self._leaving: int | None = None
        self._captured = tempfile.TemporaryFile()  # noqa: SIM115  open as long as stderr is
        self._python = sys.stderr
        sys.stderr = tolerant_stream(os.dup(2), "utf-8", line_buffering=True)
        os.dup2(self._captured.fileno(), 2)
        self._timeout: float | None = None
        # Python's own handlers would run too late, after abort() has ended the process.
        self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._aborted)
        self._c = ctypes.CDLL(None)
        self._c.signal(signal.SIGABRT, self._handler)

    @contextlib.contextmanager
    def meeting(self, timeout: float) -> Iterator[None]:
        """Reports an abort as a timeout, and a crash as a port in use, while processes connect."""
        self._timeout = timeout
        self._c.signal(signal.SIGSEGV, self._handler)  # JAX crashes if the port is in use
        try:
            yield
        finally:
            self._timeout = None
            self._c.signal(signal.SIGSEGV, None)

    def restore(self, *, discard: bool = False) -> None:
        """Restore stderr, and write the captured output to it unless `discard` is set."""
        os.dup2(self._stderr, 2)
        self._c.signal(signal.SIGABRT, None)
        sys.stderr = self._python
        if not discard:
            os.write(2, self._read())

    def exit_now(self, status: int, line: str | None = None) -> NoReturn:
        """End this process, after a delay in which other hosts can print their own message."""
        self._leaving = status
        if line is not None:
            self._print(line)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        time.sleep(_GRACE_SECONDS)
        os._exit(status)

    def _aborted(self, number: int) -> None:
        if self._leaving is not None:
            os._exit(self._leaving)
        captured = self._read()
        if self._timeout is not None:
            self._print(
                "error: the coordinator could not start: its port is in use by another program"
                if number == signal.SIGSEGV
                else f"error: not all processes connected within {self._timeout:.0f} s; "
                f"start all of them, set --join-timeout, or --distributed off"
            )
            os._exit(_BAD_INPUT)
        if any(sign in captured.decode(errors="replace").lower() for sign in _SIGNS):
            self._print(f"error: {PEER_LOST}")
            os._exit(_LOST)
        os.write(self._stderr, captured)
        os._exit(128 + signal.SIGABRT)

    def _print(self, line: str) -> None:
        with contextlib.suppress(OSError):
            os.write(self._stderr, (" ".join(line.split()) + "\n").encode())

    def _read(self) -> bytes:
        self._captured.seek(0)
        return self._captured.read()


@contextlib.contextmanager
def distributed_context(
    mode: str,
    coordinator: str | None = None,
    process_count: int | None = None,
    process_index: int | None = None,
    timeout: float = processes.JOIN_TIMEOUT,
) -> Iterator[None]:
    """Join the other hosts of a run, if any; takes the arguments of `distributed_config`.

    Waits at most `timeout` seconds for the other hosts. An exception inside the context
    ends the process, with a one-line message for invalid input and for a lost host. On a
    single host the context does nothing.
    """
    settings = processes.distributed_config(mode, coordinator, process_count, process_index)
    if settings is None:
        yield
        return
    capture = StderrCapture()
    try:
        with capture.meeting(timeout):
            several = processes.initialize(settings, insist=mode == "on", timeout=timeout)
    except UserError as error:
        if jax.distributed.is_initialized():
            capture.exit_now(_BAD_INPUT, f"error: {error}")
        capture.restore(discard=True)
        raise
    if not several:
        capture.restore()
        yield
        return
    try:
        yield
    except UserError as error:
        capture.exit_now(_BAD_INPUT, f"error: {error}")
    except Exception as error:
        if is_peer_failure(error):
            capture.exit_now(_LOST, f"error: {PEER_LOST} ({one_line(error)})")
        traceback.print_exc()
        capture.exit_now(_LOST)


def is_peer_failure(error: Exception) -> bool:
    """Return whether an error comes from a collective that lost another host."""
    raised_by_runtime = isinstance(error, jax.errors.JaxRuntimeError | ValueError)
    return raised_by_runtime and any(sign in str(error).lower() for sign in _SIGNS)
