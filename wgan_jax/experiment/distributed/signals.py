"""Collects signals that request a run to stop; the exit status identifies the signal."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

# Preemption by a scheduler, Control-C; a closed terminal, an early warning from Slurm.
_ALWAYS = ("SIGTERM", "SIGINT")
_UNLESS_HANDLED = ("SIGHUP", "SIGUSR1", "SIGUSR2")


class Stopped(Exception):  # noqa: N818  not an error: everything is saved
    """Raised when a signal has ended the run at the end of a chunk.

    Args:
      signum: number of the signal.
      step: the saved step; 0 if there was nothing to save yet, None if the run was not open yet.
    """

    def __init__(self, signum: int, step: int | None):
        saved = f", step {step} is saved" if step else " before the first step, nothing is lost"
        saved = " while it was opened, nothing is lost" if step is None else saved
        super().__init__(f"stopped by {signal.Signals(signum).name}{saved}")
        self.exit_status = 128 + signum


class _Collector:
    def __init__(self) -> None:
        self.received: list[int] = []
        self.obeys_at_once = False

    def __call__(self, number: int, _: object) -> None:
        self.received.append(number)
        if self.obeys_at_once:
            self.obeys_at_once = False
            raise Stopped(number, None)


@contextlib.contextmanager
def catch_signals() -> Iterator[list[int]]:
    """Collects received signals in a list; the run obeys the first at the end of a chunk.

    SIGTERM and SIGINT are always collected; SIGHUP, SIGUSR1 and SIGUSR2 unless the process
    ignores them, as under nohup, or has its own handler for them.

    A nested `catch_signals` yields the list of the outer one, which stays active afterward,
    so signals cannot interrupt an entry point that prints the final message of a run.
    Python handles signals only in the main thread; in other threads the list stays empty.
    """
    outer = signal.getsignal(signal.SIGTERM)
    if isinstance(outer, _Collector):
        yield outer.received
        return
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    collector = _Collector()
    former = {number: signal.getsignal(number) for number in _collectable(outer)}
    for number in former:
        signal.signal(number, collector)
    try:
        yield collector.received
    finally:
        for number, handler in former.items():
            # None stands for a handler from C, which Python cannot restore.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def obey_at_once() -> Iterator[None]:
    """Raises `Stopped` as soon as a signal arrives, for long work with nothing to save, such as
    decoding images.

    Does nothing outside `catch_signals` and outside the main thread.
    """
    collector = signal.getsignal(signal.SIGTERM)
    if not isinstance(collector, _Collector) or collector.received:
        yield
        return
    collector.obeys_at_once = True
    try:
        yield
    finally:
        collector.obeys_at_once = False


def _collectable(on_sigterm: object) -> list[signal.Signals]:
    """Returns the signals to take over; a handler shared with SIGTERM is the entry point's."""
    free = (signal.SIG_DFL, on_sigterm)
    names = [*_ALWAYS]
    names += [
        name
        for name in _UNLESS_HANDLED
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) in free
    ]
    return [getattr(signal, name) for name in names]
