"""The lock of a workdir. Standard library only: a door looks at it before JAX is loaded."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

NAME = ".lock"
_TRIES, _PAUSE = 3, 0.02


class HeldError(Exception):
    """Another process works there."""


def held(workdir: Path) -> str:
    """Who holds a workdir, in words for a person; empty if nobody does."""
    try:
        # Not through a link, and without waiting for the other end of a pipe.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        with os.fdopen(os.open(workdir / NAME, flags), "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _in_use(workdir)
    except OSError:  # no such folder or lock; who wants to write there will hear of the rest
        return ""
    return ""


@contextlib.contextmanager
def lock(workdir: Path) -> Iterator[None]:
    """Hold a workdir alone; the lock goes with the process, however it ends.

    Raises:
      HeldError: another process holds it.
      OSError: it cannot be written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(workdir / NAME, flags, 0o644)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:  # what is written goes nowhere else
            raise OSError(errno.EINVAL, f"its {NAME} is no file of its own; remove it")
        if not _acquired(descriptor):
            raise HeldError(_in_use(workdir))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquired(descriptor: int) -> bool:
    for _ in range(_TRIES):  # `held` of another process may have it for a moment
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(_PAUSE)
    return False


def _in_use(workdir: Path) -> str:
    with contextlib.suppress(OSError):
        with (workdir / NAME).open("rb") as file:
            holder = file.read(20).decode(errors="replace").strip()
        return (
            f"the workdir {workdir} is in use by process {holder or 'unknown'}; "
            f"wait for it or choose another --workdir"
        )
    return f"the workdir {workdir} is in use by another process"
