"""How one of several hosts leaves: at once, with one line, whatever the runtime prints.

Where a host is gone, the JAX runtime of the others either raises out of a
collective or ends the process from a thread of its own, after pages on stderr.
A process that then leaves in good order waits minutes for the one that is gone.
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

from wgan_jax.errors import UserError
from wgan_jax.experiment import hosts

GONE = (
    "another host is gone, so this one stops; start all of them again and the run goes on from "
    "its newest checkpoint"
)
_LOST, _GRACE_SECONDS = 1, 1.0
_SIGNS = ("gloo", "nccl", "coordination", "distributed service", "unavailable:", "heartbeat")


class LastWords:
    """Holds back what the runtime writes to stderr; Python's own words go there as ever."""

    def __init__(self) -> None:
        self._stderr = os.dup(2)
        self._leaving: int | None = None
        self._held_back = tempfile.TemporaryFile()  # noqa: SIM115  open as long as stderr is
        self._python, sys.stderr = sys.stderr, os.fdopen(os.dup(2), "w", buffering=1)
        os.dup2(self._held_back.fileno(), 2)
        # Python's own handlers run only after abort() has ended the process; this one at once.
        self._handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(self._aborted)
        self._c = ctypes.CDLL(None)
        self._c.signal(signal.SIGABRT, self._handler)

    def dismiss(self) -> None:
        """Give stderr back, with what was held back."""
        os.dup2(self._stderr, 2)
        self._c.signal(signal.SIGABRT, None)
        sys.stderr = self._python
        os.write(2, self._read())

    def leave(self, status: int, line: str | None = None) -> NoReturn:
        """End this process; other hosts get a moment to say their own word first."""
        self._leaving = status
        if line is not None:
            self._say(line)
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        time.sleep(_GRACE_SECONDS)
        os._exit(status)

    def _aborted(self, _: int) -> None:
        if self._leaving is not None:
            os._exit(self._leaving)
        said = self._read()
        if any(sign in said.decode(errors="replace").lower() for sign in _SIGNS):
            self._say(f"error: {GONE}")
            os._exit(_LOST)
        os.write(self._stderr, said)
        os._exit(128 + signal.SIGABRT)

    def _say(self, line: str) -> None:
        os.write(self._stderr, (" ".join(line.split()) + "\n").encode())

    def _read(self) -> bytes:
        self._held_back.seek(0)
        return self._held_back.read()


@contextlib.contextmanager
def joined(
    mode: str,
    coordinator: str | None = None,
    process_count: int | None = None,
    process_index: int | None = None,
) -> Iterator[None]:
    """Among the other hosts of a run, if there are any; the arguments are those of `settings`.

    What is raised inside ends the process, with one line for bad input and for a
    host that is gone. On one host nothing changes.
    """
    settings = hosts.settings(mode, coordinator, process_count, process_index)
    if settings is None:
        yield
        return
    words = LastWords()
    try:
        several = hosts.meet(settings, insist=mode == "on")
    except UserError as error:
        if jax.distributed.is_initialized():
            words.leave(2, f"error: {error}")
        words.dismiss()
        raise
    if not several:
        words.dismiss()
        yield
        return
    try:
        yield
    except UserError as error:
        words.leave(2, f"error: {error}")
    except Exception as error:
        if means_gone(error):
            words.leave(_LOST, f"error: {GONE} ({' '.join(str(error).split())[:200]})")
        traceback.print_exc()
        words.leave(_LOST)


def means_gone(error: Exception) -> bool:
    """Whether it comes from a collective that another host has left."""
    raised_by_runtime = isinstance(error, jax.errors.JaxRuntimeError | ValueError)
    return raised_by_runtime and any(sign in str(error).lower() for sign in _SIGNS)
