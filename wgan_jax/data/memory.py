"""Memory limit for data sets that are kept completely on the device."""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

import jax

_OF_DEVICE, _OF_HOST = 0.5, 0.25
# Memory limits of containers, in the two versions of Linux control groups.
_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def device_room() -> float:
    """Return the bytes that one data set may take: a share of the device's and the host's memory.

    Based on total rather than free memory, so that a resumed run makes the same decision.
    """
    room = _OF_HOST * host_memory()
    stats = jax.local_devices()[0].memory_stats() or {}
    return min(room, _OF_DEVICE * stats.get("bytes_limit", math.inf))


def host_memory() -> float:
    """Return the bytes that this process may take, as far as the system reports limits."""
    limits = [math.inf]
    with contextlib.suppress(AttributeError, ValueError, OSError):
        limits.append(float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE"))
    for path in _LIMITS:
        with contextlib.suppress(OSError, ValueError):
            limits.append(float(int(Path(path).read_text(encoding="utf-8"))))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        limits.append(math.inf if limit == resource.RLIM_INFINITY else float(limit))
    return min(limits)
