"""Limits the size of data sets that are kept on the device as a whole."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

import jax

_OF_DEVICE, _OF_HOST = 0.5, 0.25
# What containers may take, by the two versions of Linux's control groups.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def device_room() -> float:
    """Bytes for the examples of one data set: a part of the device's memory and of the host's.

    Of all memory and not of what is free, so that a run that goes on decides as before.
    """
    room = _OF_HOST * host_memory()
    stats = jax.local_devices()[0].memory_stats() or {}
    return min(room, _OF_DEVICE * stats.get("bytes_limit", math.inf))


def host_memory() -> float:
    """Bytes that this process may take, as far as the system tells."""
    found = [math.inf]
    with contextlib.suppress(AttributeError, ValueError, OSError):
        found.append(float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE"))
    for path in _LIMITS:
        with contextlib.suppress(OSError, ValueError):
            found.append(float(int(Path(path).read_text(encoding="utf-8"))))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        found.append(math.inf if limit == resource.RLIM_INFINITY else float(limit))
    return min(found)
