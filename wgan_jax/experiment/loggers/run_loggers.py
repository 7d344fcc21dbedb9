"""The loggers of a run and of the members of a sweep."""

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

MOST_MEMBERS = 32  # members that are logged as separate runs
_FAILURES = (Exception, SystemExit)  # of loggers, some of which quit


def find_loggers(config: Config) -> dict[str, Callable[[Path, int, str], Logger]]:
    """Imports the classes of a config's loggers, by name.

    Raises:
      UserError: a logger cannot be imported.
    """
    return {name: find_logger(name) for name in config.loggers}


class RunLoggers:
    """Forwards logs to all loggers; a logger that fails is reported and dropped.

    The log of a sweep holds the mean and standard deviation over members. Up to 32 members are
    also logged as separate runs.
    """

    def __init__(self, run: Run | SweepRun, workdir: Path):
        config, name = run.config, workdir.resolve().name
        members = len(run) if isinstance(run, SweepRun) else 0
        if members > MOST_MEMBERS and config.loggers:
            logger.warning("loggers get only mean and std: more than %s members", MOST_MEMBERS)
            members = 0
        self._all: dict[int | None, list[Logger]] = {None: []}
        try:
            self._open(config, workdir, run.step, name, None)
            for k in range(members) if config.loggers else ():
                own = member_config(config, k)
                self._open(own, workdir / "members" / str(k), run.step, f"{name}/{k}", k)
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
            except _FAILURES as error:
                raise UserError(f"--log {path} cannot be opened: {one_line(error)}") from error
        self._call(member, lambda each: each.write_hparams(to_dict(config)))

    def write_lines(self, step: int, lines: dict[str, dict[str, Any]]) -> None:
        """Writes one line of each of the run's logs."""
        self._call(None, lambda each: each.write_scalars(step, finite(lines["metrics.jsonl"])))
        for k in [k for k in self._all if k is not None and self._all[k]]:
            # Values of this member; a lost member has none.
            self._write_member(
                k, step, {name: each[k] for name, each in lines["members.jsonl"].items()}
            )

    def _write_member(self, k: int, step: int, line: dict[str, Any]) -> None:
        if numbers := finite(line):
            self._call(k, lambda each: each.write_scalars(step, numbers))

    def write_picture(self, step: int, name: str, path: Path) -> None:
        """Logs a picture from the workdir."""
        if self._all[None]:
            pixels = np.asarray(Image.open(path).convert("RGB"))[None]
            self._call(None, lambda each: each.write_images(step, {name: pixels}))

    def write_warning(self, step: int, topic: str, warning: str) -> None:
        self._call(None, lambda each: each.write_texts(step, {f"warnings/{topic}": warning}))

    def close(self) -> None:
        for member in reversed(self._all):
            self._call(member, lambda each: each.close())
            self._all[member] = []

    def _call(self, member: int | None, call: Callable[[Logger], object]) -> None:
        for each in list(self._all[member]):
            try:
                call(each)
            except _FAILURES as error:
                self._all[member].remove(each)
                kind = type(each).__name__
                logger.warning("%s failed and is disabled: %s", kind, one_line(error))


def log_evaluation(names: Iterable[str], workdir: Path, line: dict[str, Any]) -> None:
    """Adds a final evaluation, a line with `step` and numbers, to the log of a run."""
    step = int(line["step"])
    for name in names:
        try:
            each = find_logger(name)(workdir, step, workdir.resolve().name)
            each.write_scalars(step, finite(line))
            each.close()
        except _FAILURES as error:
            logger.warning("%s did not log the evaluation: %s", name, one_line(error))


def finite(line: dict[str, Any]) -> dict[str, float]:
    """Returns the finite numbers of a line, without its step."""
    numbers = {
        name: float(value)
        for name, value in line.items()
        if name != "step" and isinstance(value, int | float | np.number)
    }
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
