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
# Errors of file systems without locks, such as some of clusters, buckets and containers.
_UNSUPPORTED = (errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL)


class WorkdirLockedError(Exception):
    """Raised when another process trains in the workdir."""


def lock_holder(workdir: Path) -> str:
    """Returns an error message that names the process holding the lock; empty if it is free."""
    try:
        # Do not follow links, and do not wait for the other end of a pipe.
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(workdir / NAME, flags)
    except OSError:  # no folder or lock yet; other problems surface when it is written
        return ""
    try:
        return _conflict(descriptor, workdir) if _flock(descriptor, shared=True) is False else ""
    except OSError:
        return ""
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def lock(workdir: Path) -> Iterator[None]:
    """Locks a workdir; the lock is released when the process ends, in whatever way.

    On a file system without locks, this only logs a warning.

    Raises:
      WorkdirLockedError: another process holds the lock.
      OSError: the workdir cannot be written.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    descriptor = os.open(workdir / NAME, flags, 0o644)
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_nlink > 1:  # never write to another file
            raise OSError(errno.EINVAL, f"its {NAME} is not a separate regular file; remove it")
        acquired = _acquire(descriptor)
        if acquired is None:
            logging.getLogger(__name__).warning(
                "warning: the file system of %s has no locks, so nothing prevents a second run "
                "there: start only one",
                workdir,
            )
        elif not acquired:
            raise WorkdirLockedError(_conflict(descriptor, workdir))
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
    """Returns whether the lock was acquired; None if the file system has no locks."""
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


def _conflict(descriptor: int, workdir: Path) -> str:
    holder = b""
    with contextlib.suppress(OSError):
        holder = os.pread(descriptor, 20, 0).strip()
    name = f"process {int(holder)}" if holder.isdigit() else "another process"
    return f"the workdir {workdir} is in use by {name}; wait for it or choose another --workdir"
