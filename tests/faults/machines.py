"""Machines without locks, a home folder, or readers of stdout and stderr."""

import errno
import fcntl
import os
import pwd
import sys
from functools import partial


def _no_locks_and_no_home():
    """As on some clusters, and for an unknown user in a container that runs under any number."""

    def flock(*_):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    def getpwuid(number):
        raise KeyError(number)

    fcntl.flock, pwd.getpwuid = flock, getpwuid
    for name in ("HOME", "XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR"):
        os.environ.pop(name, None)


def _streams(closed, unread):
    """Of a closed one the next file that is opened would get the number."""
    reader, writer = os.pipe()
    os.dup2(writer, getattr(sys, unread).fileno())
    os.close(reader)
    os.close(writer)
    os.close(getattr(sys, closed).fileno())
    setattr(sys, closed, None)


LACKING = {
    "locks and a home": _no_locks_and_no_home,
    "stdout and a reader of stderr": partial(_streams, "stdout", "stderr"),
    "stderr and a reader of stdout": partial(_streams, "stderr", "stdout"),
}
