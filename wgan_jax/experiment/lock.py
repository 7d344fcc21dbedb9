"""The lock of a workdir. Standard library only: entry points check it before JAX is imported."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

NAME = ".lock"
_TRIES, _PAUSE = 3, 0.02
# How file systems say that they have no locks, as some of clusters, buckets and containers do.
_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)


class WorkdirLockedError(Exception):
    """Another process trains in the workdir."""


def lock_holder(workdir: Path) -> str:
    """Says which process holds the lock, as an error message; empty if none does."""
    try:
        # Not through a link, and without waiting for the other end of a pipe.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(workdir / NAME, flags)
    except OSError:  # no such folder or lock; whoever writes there later is told of the rest
        return ""
    try:
        return _in_use(descriptor, workdir) if _flock(descriptor, shared=True) is False else ""
    except OSError:
        return ""
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(workdir: Path) -> Iterator[None]:
    """Locks a workdir for this process; the lock ends with the process, however it ends.

    A file system without locks gets a warning instead.

    Raises:
      WorkdirLockedError: another process holds the lock.
      OSError: the workdir cannot be written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(workdir / NAME, flags, 0o644)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:  # what is written goes nowhere else
            raise OSError(errno.EINVAL, f"its {NAME} is no file of its own; remove it")
        acquired = _acquire(descriptor)
        if acquired is None:
            logging.getLogger(__name__).warning(
                "warning: the file system of %s has no locks, so nothing keeps a second run out "
                "of it: start only one",
                workdir,
            )
        elif not acquired:
            raise WorkdirLockedError(_in_use(descriptor, workdir))
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int) -> bool | None:
    for _ in range(_TRIES):  # `lock_holder` of another process may hold it for a moment
        acquired = _flock(descriptor)
        if acquired or acquired is None:
            return acquired
        time.sleep(_PAUSE)
    return False


def _flock(descriptor: int, *, shared: bool = False) -> bool | None:
    """Whether the lock was acquired; None where the file system has no locks."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno in _UNSUPPORTED:
            return None
        raise


def _in_use(descriptor: int, workdir: Path) -> str:
    holder = b""
    with contextlib.suppress(OSError):
        holder = os.pread(descriptor, 20, 0).strip()
    name = f"process {int(holder)}" if holder.isdigit() else "another process"
    return f"the workdir {workdir} is in use by {name}; wait for it or choose another --workdir"
