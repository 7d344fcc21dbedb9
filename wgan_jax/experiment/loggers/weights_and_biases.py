"""Logging to Weights & Biases on a separate thread, so training never waits for the network."""

from __future__ import annotations

import json
import logging
import os
import queue
import re
import secrets
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wgan_jax.errors import one_line
from wgan_jax.experiment.workdir import write_json
from wgan_jax.files import read_file

logger = logging.getLogger(__name__)

# Maximum queue length, and timeouts in seconds: to reach the server, to send the rest at the end of
# a run, and to write it to disk without a server.
_MAX_QUEUED, _TO_OPEN, _TO_FINISH, _TO_KEEP = 10_000, 20, 20, 5
_ONLINE = ("online", "shared")
_ID_FILE, _ID, _MAX_BYTES = "wandb.json", re.compile(r"[a-z0-9]{4,64}"), 2**12


class WeightsAndBiases:
    """A `Logger` of one W&B run, which resumes when training does.

    The run's id is stored in `WORKDIR/wandb.json` and its log in `WORKDIR/wandb`, from where
    `wandb sync` sends it if the server cannot be reached. `WANDB_PROJECT`, `WANDB_ENTITY` and
    `WANDB_MODE` set project, entity and mode.
    """

    # Set when a run could not be sent in time: later runs of the process do not wait.
    _is_unreachable = False

    def __init__(self, workdir: Path, step: int, name: str):
        self._name = name
        self._id = _run_id(workdir, step)
        # A new folder with a random name: W&B must neither write to existing files of the workdir
        # nor read them as its settings.
        (workdir / "wandb").mkdir(exist_ok=True)
        self._folder = Path(tempfile.mkdtemp(prefix="", dir=workdir / "wandb"))
        self._queue: queue.SimpleQueue[Callable[[Any], object] | None] = queue.SimpleQueue()
        self._dropped = False
        self._thread = threading.Thread(target=self._work, daemon=True, name="wandb")
        self._thread.start()

    def write_hparams(self, hparams: dict[str, Any]) -> None:
        self._put(lambda run: run.config.update(hparams, allow_val_change=True))

    def write_scalars(self, step: int, scalars: Mapping[str, float]) -> None:
        line = {"step": step, **scalars}
        self._put(lambda run: run.log(line))

    def write_images(self, step: int, images: Mapping[str, np.ndarray]) -> None:
        def log(run: Any) -> None:
            import wandb

            pictures = {
                name: [wandb.Image(image) for image in batch] for name, batch in images.items()
            }
            run.log({"step": step, **pictures})

        self._put(log)

    def write_texts(self, step: int, texts: Mapping[str, str]) -> None:
        self._put(lambda run: run.summary.update(dict(texts)))

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join(_TO_KEEP if WeightsAndBiases._is_unreachable else _TO_OPEN + _TO_FINISH)
        if self._thread.is_alive():
            WeightsAndBiases._is_unreachable = True
            logger.warning("wandb: part of the log was not sent in time; %s", self._how_to_send())

    def _put(self, message: Callable[[Any], object]) -> None:
        if self._queue.qsize() < _MAX_QUEUED:
            self._queue.put(message)
        elif not self._dropped:
            self._dropped = True
            logger.warning("wandb does not keep up: part of the log is dropped")

    def _work(self) -> None:
        try:
            run = self._open()
        except Exception as error:
            logger.warning("wandb: nothing is logged: %s", one_line(error))
            while self._queue.get() is not None:
                pass
            return
        # Plot against the run's own step: a run that resumes from a checkpoint may log some steps
        # again, with the same values.
        run.define_metric("*", step_metric="step")
        while (message := self._queue.get()) is not None:
            try:
                message(run)
            except Exception as error:
                logger.warning("wandb: %s", one_line(error))
        run.finish()

    def _open(self) -> Any:
        """Opens the W&B run, online if the server can be reached, else offline in the workdir."""
        import wandb

        mode = os.environ.get("WANDB_MODE") or "online"
        if mode in _ONLINE and WeightsAndBiases._is_unreachable:
            mode = "offline"
        if mode in _ONLINE:
            try:
                if wandb.login(prompt=False):
                    run = self._init(mode)
                    logger.info("wandb: %s", run.url)
                    return run
                reason = "not logged in (run: wandb login)"
            except Exception as error:
                WeightsAndBiases._is_unreachable = True
                reason = f"no connection ({one_line(error)})"
            logger.warning("wandb: %s; %s", reason, self._how_to_send())
            mode = "offline"
        return self._init(mode)

    def _init(self, mode: Any) -> Any:
        import wandb

        group, _, member = self._name.partition("/")
        return wandb.init(
            id=self._id,
            resume="allow" if mode in _ONLINE else None,
            project=os.environ.get("WANDB_PROJECT") or "wgan_jax",
            name=self._name,
            group=group if member else None,
            dir=self._folder,
            mode=mode,
            reinit="create_new",  # leave a run of the caller alone
            settings=wandb.Settings(
                silent=True,
                console="off",
                symlink=False,
                init_timeout=_TO_OPEN,
                finish_timeout=_TO_FINISH,
            ),
        )

    def _how_to_send(self) -> str:
        return f"the log is kept; to send it: wandb sync {self._folder}/wandb/*run-*"


def _run_id(workdir: Path, step: int) -> str:
    """Returns the W&B run id of a workdir; creates one at the start of a run."""
    path = workdir / _ID_FILE
    if step > 0:
        try:
            data = json.loads(read_file(path, _MAX_BYTES))
            if isinstance(data, dict) and _ID.fullmatch(str(data.get("id"))):
                return data["id"]
            logger.warning("%s holds no id: starting a new W&B run", path)
        except FileNotFoundError:
            pass  # logged from here on
        except (OSError, ValueError, RecursionError) as error:
            logger.warning("%s cannot be read (%s): starting a new W&B run", path, error)
    run_id = secrets.token_hex(4)
    write_json(path, {"id": run_id})
    return run_id
