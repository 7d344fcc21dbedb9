"""A run that is trained as far as somebody looks, and goes on where an earlier process stopped."""

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
    """A run whose newest snapshot is kept on disk until it has come to its end.

    Args:
      config: of the run.
      snapshots: after the start, at equal distances.
      folder: of this run alone; None keeps nothing.
      data: gives the open data set of `config`, for runs that share it.
    """

    def __init__(
        self,
        config: Config,
        snapshots: int,
        folder: Path | None,
        data: Callable[[], Dataset] | None = None,
    ):
        self._config, self._snapshots, self._folder, self._data = config, snapshots, folder, data
        self._kept = None if folder is None else Checkpoints(folder, keep=1)
        self._run: Iterator[Snapshot] | None = None
        self._now: Snapshot | None = None

    def at(self, number: int) -> Snapshot:
        """A snapshot, which is none of those before the last that was looked at."""
        if self._run is None:

            def restore(like: GANState) -> tuple[int, GANState] | None:
                found = None if self._kept is None else self._kept.restore(like)
                return found if found is not None and found[0] < number else None

            data = None if self._data is None else self._data()
            self._run = snapshots_of(
                self._config, snapshots=self._snapshots, restore=restore, data=data
            )
        while self._now is None or self._now.number < number:
            self._now = next(self._run)
        return self._now

    def save(self) -> None:
        """Keep the snapshot that was looked at, if there is one."""
        if self._now is None or self._kept is None:
            return
        try:
            self._kept.save(self._now.number, self._now.state)
        except UserError as error:  # diverged, or the disk is full: it would be trained anew
            logger.warning(str(error))

    def forget(self) -> None:
        """Delete what was kept."""
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            with contextlib.suppress(OSError):  # others are there
                self._folder.parent.rmdir()
