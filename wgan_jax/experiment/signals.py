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


@contextlib.contextmanager
def collected() -> Iterator[list[int]]:
    """The signals that came, to be obeyed at the end of a chunk; later ones change nothing."""
    received: list[int] = []
    handled = (signal.SIGTERM, signal.SIGINT)
    former = {s: signal.signal(s, lambda number, _: received.append(number)) for s in handled}
    try:
        yield received
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
