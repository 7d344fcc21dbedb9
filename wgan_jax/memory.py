"""The memory that this process may take: limits of the machine, control groups and the process."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

import jax

_OF_DEVICE, _OF_HOST = 0.5, 0.25
_CGROUPS = Path("/sys/fs/cgroup")
# Files of a control group's limit and usage, and the part of the usage that can be reclaimed, by
# the controller that /proc/self/cgroup names in version 2 (none) and 1 of Linux control groups.
_FILES = {
    "": ("memory.max", "memory.current", "inactive_file"),
    "memory": ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}


def device_room() -> float:
    """Return the bytes that one data set may take: a share of the device's and the host's memory.

    Based on total rather than free memory, so that a resumed run makes the same decision.
    """
    room = _OF_HOST * host_memory()
    stats = jax.local_devices()[0].memory_stats() or {}
    return min(room, _OF_DEVICE * stats.get("bytes_limit", math.inf))


def host_memory() -> float:
    """Return the bytes that this process may take, as far as the system reports limits."""
    return min(limit for limit, _ in _limits())


def free_memory() -> float:
    """Return the bytes of `host_memory` that are free now."""
    free = [limit - max(0.0, used) for limit, used in _limits()]
    with contextlib.suppress(OSError, ValueError, KeyError):
        free.append(1024.0 * _numbers(Path("/proc/meminfo"))["MemAvailable:"])
    return max(0.0, min(free))


def _limits() -> Iterator[tuple[float, float]]:
    """Yield limit and usage for the machine, whose usage counts as 0, groups and process."""
    yield math.inf, 0.0
    with contextlib.suppress(AttributeError, ValueError, OSError):
        yield float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE"), 0.0
    yield from _cgroups()
    yield from _process_limits()


def _cgroups() -> Iterator[tuple[float, float]]:
    """Yield limit and usage of this process's control group and of all groups above it.

    A container sees its own group at the root. Slurm jobs and systemd units run in a group below
    the root, named in /proc/self/cgroup.
    """
    groups = dict.fromkeys(_FILES, "")
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            groups |= {name: path.strip("/") for name in controllers.split(",") if name in groups}
    for controller, (limit_file, usage_file, reclaimable) in _FILES.items():
        group = _CGROUPS / controller / groups[controller]
        for folder in (group, *group.parents):
            with contextlib.suppress(OSError, ValueError):  # no such file, or "max"
                limit, used = float(_integer(folder / limit_file)), 0.0
                with contextlib.suppress(OSError, ValueError):
                    used = float(_integer(folder / usage_file))
                    used -= _numbers(folder / "memory.stat").get(reclaimable, 0)
                yield limit, used


def _process_limits() -> Iterator[tuple[float, float]]:
    """Yield limit and usage for `ulimit -v` and `ulimit -d`, where set."""
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        usage = {resource.RLIMIT_AS: 0, resource.RLIMIT_DATA: 0}
        with contextlib.suppress(OSError, ValueError):
            pages = Path("/proc/self/statm").read_text(encoding="utf-8").split()
            usage = {resource.RLIMIT_AS: int(pages[0]), resource.RLIMIT_DATA: int(pages[5])}
        for kind, pages_used in usage.items():
            limit = resource.getrlimit(kind)[0]
            if limit != resource.RLIM_INFINITY:
                yield float(limit), float(pages_used * resource.getpagesize())


def _integer(path: Path) -> int:
    return int(path.read_text(encoding="utf-8"))


def _numbers(path: Path) -> dict[str, int]:
    """Return the numbers of a file whose lines are a name, a number and possibly a unit."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return {words[0]: int(words[1]) for words in lines if len(words) > 1}
