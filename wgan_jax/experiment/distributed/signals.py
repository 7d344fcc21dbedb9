"""Collects signals that ask a run to stop; its exit status names the signal."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

# A scheduler's preemption, Control-C, a terminal that closes, Slurm's warning ahead of time.
_ALWAYS = ("SIGTERM", "SIGINT")
_UNLESS_HANDLED = ("SIGHUP", "SIGUSR1", "SIGUSR2")


class Stopped(Exception):  # noqa: N818  it is no error: all is saved
    """A signal ended the run at a chunk's end.

    Args:
      signum: the signal.
      step: the step that is saved; 0 where there was nothing to save yet, None where the run was
        not even open.
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
    """The signals that came, to be obeyed at the end of a chunk; later ones change nothing.

    SIGTERM and SIGINT always. SIGHUP, SIGUSR1 and SIGUSR2 as well, unless the process
    ignores them, as under nohup, or has a handler of its own for them.

    Inside another `catch_signals` the list is that one's, which stays in charge after
    the inner one: an entry point that says a run's last word cannot be interrupted in
    it. Python handles signals in the main thread alone; in another the list stays empty.
    """
    outer = signal.getsignal(signal.SIGTERM)
    if isinstance(outer, _Collector):
        yield outer.received
        return
    if threading.current_thread() is not threading.main_thread():
        yield []
        return
    collector = _Collector()
    former = {number: signal.getsignal(number) for number in _to_collect(outer)}
    for number in former:
        signal.signal(number, collector)
    try:
        yield collector.received
    finally:
        for number, handler in former.items():
            # None stands for a handler from C, which Python cannot put back.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def obey_at_once() -> Iterator[None]:
    """Raises `Stopped` as soon as a signal comes, inside `catch_signals`: for work that is long and
    has nothing to save, such as decoding images.

    In other threads than the main one, and where nothing is caught, it changes nothing.
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


def _to_collect(on_sigterm: object) -> list[signal.Signals]:
    """The signals to take over; a handler that SIGTERM has too is the entry point's."""
    free = (signal.SIG_DFL, on_sigterm)
    names = [*_ALWAYS]
    names += [
        name
        for name in _UNLESS_HANDLED
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) in free
    ]
    return [getattr(signal, name) for name in names]
