"""The folder of a run: its lock, its config, its metrics."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wgan_jax.errors import UserError
from wgan_jax.experiment.codec import differences, from_dict, identity, to_dict
from wgan_jax.experiment.config import Config


@contextlib.contextmanager
def locked(workdir: Path) -> Iterator[None]:
    """Hold a workdir alone; the lock goes with the process, however it ends.

    Raises:
      UserError: another process holds it, or it cannot be written.
    """
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = (workdir / ".lock").open("a+")
    except OSError as error:
        raise UserError(f"the workdir {workdir} cannot be written: {error.strerror}") from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise UserError(
                f"the workdir {workdir} is in use by process {holder}; "
                f"wait for it or choose another --workdir"
            ) from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def claim(workdir: Path, config: Config) -> None:
    """Write config.json, unless the workdir belongs to a run of another config.

    Raises:
      UserError: it does; the fields that differ are named.
    """
    path = workdir / "config.json"
    if path.exists():
        changed = differences(identity(config), identity(read_config(path)))
        if changed:
            raise UserError(
                f"{workdir} holds a run of another config (it differs in {', '.join(changed)}); "
                f"choose another --workdir"
            )
    write_json(path, to_dict(config))


def read_config(path: Path) -> Config:
    """The config in a config.json.

    Raises:
      UserError: no such file, not JSON, or not a config.
    """
    try:
        data = json.loads(path.read_text())
    except FileNotFoundError as error:
        raise UserError(f"there is no config file {path}") from error
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {error}") from error
    return from_dict(data)


def write_json(path: Path, data: Any) -> None:
    """Replace a file as a whole, so that no reader ever sees half of it."""
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(data, indent=2) + "\n")
    part.replace(path)


class MetricsLog:
    """metrics.jsonl: one JSON object a line, in the order of `step`."""

    def __init__(self, path: Path, step: int):
        """Open for the lines after `step`; later ones, of a lost future, are dropped."""
        kept = [line for line in read_metrics(path) if line["step"] <= step]
        part = path.with_name(path.name + ".part")
        part.write_text("".join(json.dumps(line) + "\n" for line in kept))
        part.replace(path)
        self._file = path.open("a")

    def write(self, line: dict[str, Any]) -> None:
        self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a torn last line is left out."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else []:
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            break
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            break
        lines.append(line)
    return lines
