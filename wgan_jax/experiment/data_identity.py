"""Checks that a run resumes on the data that it began with, and all hosts have the same."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import wgan_jax
from wgan_jax.data.dataset import Dataset
from wgan_jax.errors import UserError
from wgan_jax.experiment.config_io import diff
from wgan_jax.experiment.distributed import processes
from wgan_jax.experiment.workdir import write_json
from wgan_jax.files import read_file

logger = logging.getLogger(__name__)

NAME = "data.json"
_LARGEST = 2**16


def check_data(data: Dataset, workdir: Path, step: int) -> None:
    """Compare the data with those of the other hosts and of the run at its start. All call this.

    A run that has not begun keeps what its data are in data.json; distributions that
    the config alone describes have nothing to be compared.

    Args:
      data: a data set; its `fingerprint()` says what it is.
      workdir: of the run.
      step: which the run is at.

    Raises:
      UserError: they differ.
    """
    mine = None if data.size is None else processes.run_on_all(data.fingerprint)
    if mine is None:
        return
    processes.assert_same_on_all(mine, lambda first, other: f"its data ({_told(first, other)})")
    processes.run_on_all(lambda: _compare(mine, workdir, step) if processes.is_primary() else None)


def _compare(mine: dict[str, Any], workdir: Path, step: int) -> None:
    path = workdir / NAME
    former = _read(path) if step else None
    if former is not None and former != mine:
        raise UserError(
            f"the data of {workdir} are not those that its run began with "
            f"({_told(former, mine)}); put the former data back, choose another --workdir, or "
            f"remove {path} to go on with these"
        )
    if former is None:
        write_json(path, {"wgan_jax": wgan_jax.__version__, "data": mine})


def _read(path: Path) -> dict[str, Any] | None:
    """What the run began with; None where that is not known, as of runs of former versions."""
    try:
        stored = json.loads(read_file(path, _LARGEST))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s cannot be read (%s), so it is written anew", path, error)
        return None
    data = stored.get("data") if isinstance(stored, dict) else None
    return data if isinstance(data, dict) else None


def _told(first: dict[str, Any], other: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {first.get(name)} and {other.get(name)}"
        if name != "sha256"
        else "other values or another order"
        for name in diff(first, other)
    )
