"""All loggers of a run, and of the members of a sweep."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wgan_jax.errors import UserError, one_line
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.config_io import to_dict
from wgan_jax.experiment.loggers.logger import Logger, find_logger
from wgan_jax.experiment.run import Run
from wgan_jax.experiment.sweep import member_config
from wgan_jax.experiment.sweep_run import SweepRun
from wgan_jax.experiment.workdir import require_plain

logger = logging.getLogger(__name__)

MOST_MEMBERS = 32  # that are logged as runs of their own


def find_loggers(config: Config) -> dict[str, Callable[[Path, int, str], Logger]]:
    """The classes of a config's loggers by name.

    Raises:
      UserError: one of them cannot be found.
    """
    return {name: find_logger(name) for name in config.loggers}


class RunLoggers:
    """Hands to every logger what it takes; one that fails is told of and left out.

    The log of a sweep holds the mean and the spread over members. Each member, up to 32, is
    logged as the run that it would be alone as well.
    """

    def __init__(self, run: Run | SweepRun, workdir: Path):
        config, name = run.config, workdir.resolve().name
        members = len(run) if isinstance(run, SweepRun) else 0
        if members > MOST_MEMBERS and config.loggers:
            logger.warning("loggers get mean and spread: more than %s members", MOST_MEMBERS)
            members = 0
        self._all: dict[int | None, list[Logger]] = {None: []}
        try:
            self._open(config, workdir, run.step, name, None)
            for k in range(members) if config.loggers else ():
                alone = member_config(config, k)
                self._open(alone, workdir / "members" / str(k), run.step, f"{name}/{k}", k)
        except BaseException:
            self.close()
            raise

    def _open(self, config: Config, folder: Path, step: int, name: str, member: int | None) -> None:
        if member is not None:
            require_plain(folder)
            folder.mkdir(parents=True, exist_ok=True)
        opened = self._all.setdefault(member, [])
        for path, kind in find_loggers(config).items():
            try:
                opened.append(kind(folder, step, name))
            except Exception as error:
                raise UserError(f"--log {path} cannot be opened: {one_line(error)}") from error
        self._tell(member, lambda each: each.write_hparams(to_dict(config)))

    def write_lines(self, step: int, lines: dict[str, dict[str, Any]]) -> None:
        """Writes a line of each log of the run."""
        self._tell(None, lambda each: each.write_scalars(step, finite(lines["metrics.jsonl"])))
        for k in [k for k in self._all if k is not None and self._all[k]]:
            # Of each value, a member's own; a member that is lost has none.
            self._write_member(
                k, step, {name: each[k] for name, each in lines["members.jsonl"].items()}
            )

    def _write_member(self, k: int, step: int, line: dict[str, Any]) -> None:
        if numbers := finite(line):
            self._tell(k, lambda each: each.write_scalars(step, numbers))

    def write_picture(self, step: int, name: str, path: Path) -> None:
        """Writes a picture that is in the workdir."""
        if self._all[None]:
            pixels = np.asarray(Image.open(path).convert("RGB"))[None]
            self._tell(None, lambda each: each.write_images(step, {name: pixels}))

    def write_warning(self, step: int, topic: str, warning: str) -> None:
        self._tell(None, lambda each: each.write_texts(step, {f"warnings/{topic}": warning}))

    def close(self) -> None:
        for member in reversed(self._all):
            self._tell(member, lambda each: each.close())
            self._all[member] = []

    def _tell(self, member: int | None, tell: Callable[[Logger], object]) -> None:
        for each in list(self._all[member]):
            try:
                tell(each)
            except Exception as error:
                self._all[member].remove(each)
                kind = type(each).__name__
                logger.warning("%s failed and is left out: %s", kind, one_line(error))


def log_evaluation(names: Iterable[str], workdir: Path, line: dict[str, Any]) -> None:
    """Adds an evaluation at the end of a run, `step` and numbers, to its log."""
    step = int(line["step"])
    for name in names:
        try:
            each = find_logger(name)(workdir, step, workdir.resolve().name)
            each.write_scalars(step, finite(line))
            each.close()
        except Exception as error:
            logger.warning("the evaluation is not in %s: %s", name, one_line(error))


def finite(line: dict[str, Any]) -> dict[str, float]:
    """The numbers of a line that a curve can show."""
    numbers = {
        name: float(value)
        for name, value in line.items()
        if name != "step" and isinstance(value, int | float | np.number)
    }
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
