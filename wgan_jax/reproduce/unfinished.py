"""A run that trains on demand and resumes where an earlier process stopped."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from wgan_jax.data.dataset import Dataset
from wgan_jax.errors import UserError
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.config import Config
from wgan_jax.reproduce.runs import Snapshot, snapshots_of
from wgan_jax.types import GANState

logger = logging.getLogger(__name__)


class UnfinishedRun:
    """A run whose newest snapshot is kept on disk until the run is finished.

    Args:
      config: config of the run.
      snapshots: number of snapshots after the start, at equal intervals.
      folder: folder of this run alone; None keeps nothing.
      data: returns the open data set of `config`, for runs that share it.
    """

    def __init__(
        self,
        config: Config,
        snapshots: int,
        folder: Path | None,
        data: Callable[[], Dataset] | None = None,
    ):
        self._config, self._snapshots, self._folder, self._data = config, snapshots, folder, data
        self._checkpoints = None if folder is None else Checkpoints(folder, keep=1)
        self._run: Iterator[Snapshot] | None = None
        self._now: Snapshot | None = None

    def at(self, number: int) -> Snapshot:
        """Return a snapshot; `number` must not decrease from call to call."""
        if self._run is None:

            def restore(like: GANState) -> tuple[int, GANState] | None:
                restored = None if self._checkpoints is None else self._checkpoints.restore(like)
                return restored if restored is not None and restored[0] < number else None

            data = None if self._data is None else self._data()
            self._run = snapshots_of(
                self._config, snapshots=self._snapshots, restore=restore, data=data
            )
        while self._now is None or self._now.number < number:
            self._now = next(self._run)
        return self._now

    def save(self) -> None:
        """Save the current snapshot, if there is one."""
        if self._now is None or self._checkpoints is None:
            return
        try:
            self._checkpoints.save(self._now.number, self._now.state)
        except UserError as error:  # diverged, or the disk is full: training would start over
            logger.warning(str(error))

    def forget(self) -> None:
        """Delete the saved snapshot."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # other runs are there
                self._folder.parent.rmdir()
