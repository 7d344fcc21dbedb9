"""The workdir of a run: safety checks, lock, config and atomic writes."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import wgan_jax
from wgan_jax.errors import UserError
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.config_io import comparable_fields, diff, from_dict, to_dict
from wgan_jax.experiment.lock import WorkdirLockedError, lock
from wgan_jax.files import atomic_write, kind_of, read_file

_FILES = re.compile(
    r"config\.json|(metrics|members)(\.old|\.damaged)?\.jsonl|(members|machine|evaluation|data|schema|wandb)\.json|report\.html|"
    r"(curves|nearest)\.png|conditions\.npz|\.lock|.*-lenet\.safetensors"
)
_FOLDERS = ("checkpoints", "samples", "members", "tensorboard", "wandb")
_MAX_CONFIG, _CONFIG_FORMAT = 2**20, 1


def require_plain(workdir: Path) -> None:
    """Reject a workdir whose files or folders are links, pipes, devices or the like.

    The workdir may be untrusted, so no link in it is followed. Its own path may be a
    link, and files that are not part of a run are ignored.

    Raises:
      UserError: names the first such file.
    """
    for entry in _entries(workdir):
        is_folder = entry.name in _FOLDERS
        if is_folder and not entry.is_dir(follow_symlinks=False):
            raise _not_plain(entry)
        if _FILES.fullmatch(entry.name) and not entry.is_file(follow_symlinks=False):
            raise _not_plain(entry)
        for inner in _entries(entry.path) if is_folder else ():
            if not inner.is_file(follow_symlinks=False) and not inner.is_dir(follow_symlinks=False):
                raise _not_plain(inner)


def _entries(folder: Path | str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError):  # reported when it is written
        return
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from error


def _not_plain(entry: os.DirEntry[str]) -> UserError:
    kind = kind_of(entry.stat(follow_symlinks=False).st_mode)
    return UserError(
        f"{entry.path} is {kind}, and nothing in a workdir may lead out of it: replace it with a "
        f"regular file or folder, or remove it"
    )


@contextlib.contextmanager
def lock_workdir(workdir: Path) -> Iterator[None]:
    """Lock a workdir; the lock is released when the process ends, in whatever way.

    Raises:
      UserError: another process holds the lock, or the workdir cannot be written or is not plain.
    """
    require_plain(workdir)
    try:
        str(workdir.absolute()).encode()
    except UnicodeEncodeError as error:
        raise UserError(
            f"checkpoints cannot be saved in {str(workdir.absolute())!a}, whose name is not UTF-8: "
            f"choose another --workdir"
        ) from error
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(lock(workdir))
        except WorkdirLockedError as error:
            raise UserError(str(error)) from error
        except OSError as error:
            raise UserError(f"the workdir {workdir} cannot be written: {error.strerror}") from error
        yield


def reserve_workdir(workdir: Path, config: Config) -> None:
    """Write config.json, unless the workdir belongs to a run of another or a longer config.

    A run that failed before it began, for example without data, leaves the workdir free.

    Raises:
      UserError: it does; the message names the fields that differ.
    """
    path = workdir / "config.json"
    config = dataclasses.replace(config, class_counts=saved_class_counts(workdir))
    if path.exists() and has_begun(workdir):
        changed = diff(comparable_fields(config), comparable_fields(read_config(path)))
        if changed:
            raise UserError(
                f"{workdir} holds a run of another config (it differs in {', '.join(changed)}); "
                f"choose another --workdir"
            )
    reached = max(Checkpoints(workdir / "checkpoints").steps(), default=0)
    if reached > config.steps:
        raise UserError(
            f"{workdir} holds a run that is at step {reached}, past --steps {config.steps}; set "
            f"--steps to {reached} or more, or choose another --workdir"
        )
    write_config(path, config)


def save_class_counts(workdir: Path, config: Config) -> None:
    """Save the examples per class in config.json, once they are known from the data set."""
    if config.class_counts != saved_class_counts(workdir):
        write_config(workdir / "config.json", config)


def saved_class_counts(workdir: Path) -> tuple[int, ...]:
    """Return the examples per class at the start of the run in a workdir; empty if unknown."""
    path = workdir / "config.json"
    return read_config(path).class_counts if path.exists() and has_begun(workdir) else ()


def has_begun(workdir: Path) -> bool:
    """Return whether a workdir holds a run with a checkpoint or a line of metrics."""
    metrics = workdir / "metrics.jsonl"
    return (workdir / "checkpoints").exists() or (metrics.is_file() and metrics.stat().st_size > 0)


def read_config(path: Path, *, follow: bool = False) -> Config:
    """Read a config.json.

    Args:
      path: path of the file.
      follow: whether the path may be a link, as one given by the user may be.

    Raises:
      UserError: the file does not exist, is not JSON, or is not a config.
    """
    try:
        data = json.loads(read_file(path, _MAX_CONFIG, follow=follow))
    except FileNotFoundError as error:
        raise UserError(f"there is no config file {path}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read: {error}; restore it from a copy, or remove it and start "
            f"train.py with the run's own flags and --workdir, which writes it again"
        ) from error
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{path} must be an object, got {json.dumps(data)[:100]}")
    form, version = data.pop("format", _CONFIG_FORMAT), str(data.pop("wgan_jax", ""))[:20]
    if form != _CONFIG_FORMAT or isinstance(form, bool):
        raise UserError(
            f"{path} has format {str(form)[:20]} of wgan_jax {version or 'unknown'}; wgan_jax "
            f"{wgan_jax.__version__} reads {_CONFIG_FORMAT}: use the version that wrote it"
        )
    try:
        return from_dict(data)
    except UserError as error:
        if version in ("", wgan_jax.__version__):
            raise UserError(f"{error} (in {path})") from error
        raise UserError(
            f"{error} ({path} is from wgan_jax {version}, this is {wgan_jax.__version__})"
        ) from error


def write_config(path: Path, config: Config) -> None:
    """Write a config.json, including its format and the version of wgan_jax."""
    header = {"format": _CONFIG_FORMAT, "wgan_jax": wgan_jax.__version__}
    write_json(path, header | to_dict(config))


def write_json(path: Path, data: Any) -> None:
    """Write a JSON file atomically, so that no reader sees a partial file."""
    with atomic_write(path) as file:
        file.write((json.dumps(data, indent=2) + "\n").encode())


def write_lines(path: Path, lines: Iterable[Any]) -> None:
    """Write a file atomically, with one JSON value per line."""
    with atomic_write(path) as file:
        file.writelines((json.dumps(line) + "\n").encode() for line in lines)
