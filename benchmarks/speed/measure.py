"""Interleaved timing that discards windows in which other processes ran."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from benchmarks.speed.contender import Contender

Clock = Callable[[], float]
_STAT = Path("/proc/stat")


class Window(NamedTuple):
    """Seconds per iteration, and the share of the machine that other processes used."""

    seconds: float
    others: float


def interleave(
    contenders: Mapping[str, Contender],
    lengths: Mapping[str, int],
    rounds: int,
    tolerated: float,
    clock: Clock = time.perf_counter,
) -> dict[str, list[float]]:
    """Return seconds per iteration of each contender, in `rounds` rounds of one window each.

    Every contender must have iterated before, so that no window compiles. CPU time is
    never disturbed. By wall time, a disturbed window is measured again, up to `rounds`
    times; then only the undisturbed windows count, or all if there are none.
    """
    windows: dict[str, list[Window]] = {name: [] for name in contenders}
    for round_ in range(2 * rounds):
        pending = [
            name
            for name, measured in windows.items()
            if round_ < rounds or sum(w.others <= tolerated for w in measured) < rounds
        ]
        for name in pending:
            windows[name].append(window(contenders[name], lengths[name], clock))
    return {name: kept(measured, tolerated) for name, measured in windows.items()}


def kept(windows: list[Window], tolerated: float) -> list[float]:
    quiet = [w.seconds for w in windows if w.others <= tolerated]
    return quiet or [w.seconds for w in windows]


def window(contender: Contender, length: int, clock: Clock = time.perf_counter) -> Window:
    busy, own, start, began = machine_seconds(), own_seconds(), time.perf_counter(), clock()
    contender.iterate(length)
    seconds, elapsed = clock() - began, time.perf_counter() - start
    if clock is time.process_time:
        return Window(seconds / length, 0.0)
    others = (machine_seconds() - busy) - (own_seconds() - own)
    return Window(seconds / length, max(others, 0.0) / (elapsed * (os.cpu_count() or 1)))


def machine_seconds() -> float:
    """Return the CPU time of all processes, on Linux; 0 elsewhere."""
    if not _STAT.exists():
        return 0.0
    user, nice, system, *_ = map(int, _STAT.read_text().split("\n", 1)[0].split()[1:])
    return (user + nice + system) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    return sum(os.times()[:4]) if _STAT.exists() else 0.0


def matmul_peak(size: int = 2_048, rounds: int = 9, clock: Clock = time.perf_counter) -> float:
    """Return the FLOP/s of the fastest of several float32 matrix products."""
    product = jax.jit(lambda a, b: a @ b)
    a = jnp.ones((size, size), jnp.float32)
    seconds = []
    for _ in range(rounds):
        start = clock()
        jax.block_until_ready(product(a, a))
        seconds.append(clock() - start)
    return 2 * size**3 / min(seconds)


def median(seconds: list[float]) -> float:
    return statistics.median(seconds)
