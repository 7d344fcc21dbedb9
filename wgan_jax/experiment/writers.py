"""Where a run tells how it goes: the terminal and TensorBoard."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wgan_jax.errors import UserError

_SECONDS_BETWEEN_LINES = 10.0


class Console:
    """A progress bar on a terminal; elsewhere a line now and then."""

    def __init__(self, step: int, steps: int):
        from tqdm import tqdm

        self._step, self._steps, self._said = step, steps, time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(initial=step, total=steps, unit="it", dynamic_ncols=True)

    def update(self, iterations: int, metrics: dict[str, Any]) -> None:
        self._step += iterations
        estimate = f"{metrics['critic/estimate']:.4f}"
        if self._bar is not None:
            self._bar.set_postfix(estimate=estimate)
            self._bar.update(iterations)
        elif time.monotonic() - self._said > _SECONDS_BETWEEN_LINES:
            self._said = time.monotonic()
            print(f"step {self._step:,} of {self._steps:,}  estimate {estimate}", flush=True)

    def say(self, line: str) -> None:
        """A line beside the bar."""
        if self._bar is not None:
            self._bar.write(line)
        else:
            print(line, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class TensorBoard:
    """TensorBoard scalars and pictures of samples, through the extra `tensorboard`."""

    def __init__(self, folder: Path, step: int | None = None):
        """Add to what is there; if `step` is given, what comes after it is marked as void."""
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UserError(
                "tensorboard needs an extra; run: pip install 'wgan_jax[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(
            str(folder / "tensorboard"), purge_step=None if step is None else step + 1
        )

    def write(self, line: dict[str, Any]) -> None:
        for name, value in line.items():
            if name != "step":
                self._writer.add_scalar(name, value, line["step"])

    def picture(self, path: Path, step: int) -> None:
        pixels = np.asarray(Image.open(path).convert("RGB"))
        self._writer.add_image("samples", pixels, step, dataformats="HWC")

    def close(self) -> None:
        self._writer.close()
