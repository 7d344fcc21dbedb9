"""Checks that a run goes on with the same data, and that all hosts have the same data."""

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
_MAX_BYTES = 2**16


def check_data(data: Dataset, workdir: Path, step: int) -> None:
    """Compare the data with the other hosts' and with those at the start of the run.

    All processes must call this. A new run stores the fingerprint of its data in data.json;
    distributions, which the config describes completely, are not compared.

    Args:
      data: an open data set, identified by its `fingerprint()`.
      workdir: workdir of the run.
      step: current generator iteration.

    Raises:
      UserError: the data differ.
    """
    ours = None if data.size is None else processes.run_on_all(data.fingerprint)
    if ours is None:
        return
    processes.assert_same_on_all(ours, lambda first, other: f"its data ({_diff(first, other)})")
    processes.run_on_primary(lambda: _compare(ours, workdir, step))


def warn_of_other_data(data: Dataset, workdir: Path) -> None:
    """Log a warning if the data are not those that the run in a workdir began with."""
    ours = None if data.size is None else data.fingerprint()
    former = None if ours is None else _read(workdir / NAME)
    if ours is not None and former is not None and former != ours:
        logger.warning(
            "warning: the data are not those that the run in %s began with (%s), so held-out data "
            "may have been trained on; restore the former data to evaluate it on them",
            *(workdir, _diff(former, ours)),
        )


def _compare(ours: dict[str, Any], workdir: Path, step: int) -> None:
    path = workdir / NAME
    former = _read(path) if step else None
    if former is not None and former != ours:
        raise UserError(
            f"the data of {workdir} are not those that its run began with "
            f"({_diff(former, ours)}); restore the former data, choose another --workdir, or "
            f"remove {path} to continue with these"
        )
    if former is None:
        write_json(path, {"wgan_jax": wgan_jax.__version__, "data": ours})


def _read(path: Path) -> dict[str, Any] | None:
    """Read the fingerprint that the run started with; None if unknown, as for older versions."""
    try:
        stored = json.loads(read_file(path, _MAX_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, RecursionError) as error:
        logger.warning("%s cannot be read (%s), so the data are not compared", path, error)
        return None
    data = stored.get("data") if isinstance(stored, dict) else None
    return data if isinstance(data, dict) else None


def _diff(first: dict[str, Any], other: dict[str, Any]) -> str:
    return ", ".join(
        f"{name} {first.get(name)} and {other.get(name)}"
        if name != "sha256"
        else "other values or another order"
        for name in diff(first, other)
    )
