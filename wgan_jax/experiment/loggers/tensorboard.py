"""Logging to TensorBoard event files in the workdir."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


class TensorBoard:
    """A `Logger` that writes event files to `WORKDIR/tensorboard` with tensorboardX."""

    def __init__(self, workdir: Path, step: int, name: str):
        """Appends to existing event files; events after `step` are purged."""
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(workdir / "tensorboard"), purge_step=step + 1)

    def write_hparams(self, hparams: dict[str, Any]) -> None:
        text = json.dumps(hparams, indent=2)
        self._writer.add_text("config", "\n".join(f"    {line}" for line in text.splitlines()))

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        for name, batch in images.items():
            self._writer.add_images(name, batch, step, dataformats="NHWC")

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        for name, text in texts.items():
            self._writer.add_text(name, text, step)

    def close(self) -> None:
        self._writer.close()
