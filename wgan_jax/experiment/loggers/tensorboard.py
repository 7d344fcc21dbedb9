"""Logging to TensorBoard event files in the workdir."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

_SECONDS_BETWEEN_FLUSHES = 120.0


class TensorBoard:
    """A `Logger` that writes event files to `WORKDIR/tensorboard` with tensorboardX.

    It writes in the caller's thread. tensorboardX's `SummaryWriter` writes in a thread of its
    own; after that fails, as on a full disk, its queue fills up and blocks the run for good.
    """

    def __init__(self, workdir: Path, step: int, name: str):
        """Starts an event file; events after `step` in former ones are purged."""
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        folder = workdir / "tensorboard"
        folder.mkdir(parents=True, exist_ok=True)
        self._file, self._flushed = EventsWriter(str(folder / "events")), -math.inf
        self._write(step + 1, session_log=SessionLog(status=SessionLog.START))

    def write_hparams(self, hparams: dict[str, Any]) -> None:
        lines = json.dumps(hparams, indent=2).splitlines()
        self.write_texts(0, {"config": "\n".join(f"    {line}" for line in lines)})

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        from tensorboardX.summary import scalar

        for name, value in scalars.items():
            self._write(step, summary=scalar(name, value))
        self._flush_if_due()

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        from tensorboardX.summary import image

        for name, batch in images.items():
            self._write(step, summary=image(name, batch, dataformats="NHWC"))

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        from tensorboardX.summary import text

        for name, content in texts.items():
            self._write(step, summary=text(name, content))

    def close(self) -> None:
        self._file.close()

    def _write(self, step: int, **content: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._file.write_event(Event(wall_time=time.time(), step=step, **content))

    def _flush_if_due(self) -> None:
        if time.monotonic() - self._flushed > _SECONDS_BETWEEN_FLUSHES:
            self._file.flush()
            self._flushed = time.monotonic()
