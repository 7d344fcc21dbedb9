"""Memory limit for data sets that are kept completely on the device."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import jax

_OF_DEVICE, _OF_HOST = 0.5, 0.25
_CGROUPS = Path("/sys/fs/cgroup")
# File with the limit of a control group, by the controller that /proc/self/cgroup names in
# version 2 (none) and version 1 of Linux control groups.
_LIMITS = {"": "memory.max", "memory": "memory.limit_in_bytes"}


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
    for path in _cgroup_limits():
        with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
            limits.append(float(int(path.read_text(encoding="utf-8"))))
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
            limit = resource.getrlimit(kind)[0]
            limits.append(math.inf if limit == resource.RLIM_INFINITY else float(limit))
    return min(limits)


def _cgroup_limits() -> Iterator[Path]:
    """Yield the limit files of this process's control group and all groups above it.

    A container sees its own group at the root. Slurm jobs and systemd units run in a group below
    the root, named in /proc/self/cgroup.
    """
    groups = dict.fromkeys(_LIMITS, "")
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            groups |= {name: path.strip("/") for name in controllers.split(",") if name in groups}
    for controller, file in _LIMITS.items():
        group = _CGROUPS / controller / groups[controller]
        yield from (folder / file for folder in (group, *group.parents))
