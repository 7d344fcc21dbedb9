"""SIGTERM and SIGINT: a run ends where it is whole, and says so by its exit status."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


class Stopped(Exception):  # noqa: N818  it is no error: all is saved
    """A signal ended the run at a chunk's end."""

    def __init__(self, signum: int, step: int):
        super().__init__(f"stopped by {signal.Signals(signum).name}, step {step} is saved")
        self.exit_status = 128 + signum


class _Collector:
    def __init__(self) -> None:
        self.received: list[int] = []

    def __call__(self, number: int, _: object) -> None:
        self.received.append(number)


@contextlib.contextmanager
def collected() -> Iterator[list[int]]:
    """The signals that came, to be obeyed at the end of a chunk; later ones change nothing.

    Inside another `collected` the list is that one's, which stays in charge after
    the inner one: a door that says a run's last word cannot be interrupted in it.
    """
    outer = signal.getsignal(signal.SIGTERM)
    if isinstance(outer, _Collector):
        yield outer.received
        return
    collector = _Collector()
    former = {s: signal.signal(s, collector) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield collector.received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
