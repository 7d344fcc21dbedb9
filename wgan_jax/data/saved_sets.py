"""Folders that `save_to_disk` of Hugging Face's `datasets` wrote, opened as untrusted input."""

from __future__ import annotations

import logging
import stat
import sys
from pathlib import Path
from typing import Any

from wgan_jax.errors import UserError, install_extra, one_line
from wgan_jax.files import kind_of, read_json_object

LARGEST_JSON, _MOST_FILES = 2**24, 2**16


def is_saved_set(folder: Path) -> bool:
    """Return whether a folder holds a data set without splits, or one split."""
    return (folder / "state.json").exists()


def saved_splits(folder: Path) -> dict[str, Path]:
    """Return the folders of the splits of a data set, by name."""
    return {path.parent.name: path.parent for path in sorted(folder.glob("*/state.json"))}


def open_saved_set(folder: Path, what: str) -> Any:
    """Open a data set without splits, or one split, as `datasets.Dataset`.

    Raises:
      UserError: it cannot be used, or `what` needs a package that is not installed.
    """
    datasets = import_datasets(what)
    _require_plain(folder)
    try:
        return datasets.load_from_disk(str(folder))
    except Exception as error:  # from its parsers, its features and Arrow
        raise UserError(f"{folder} cannot be used: {one_line(error)}") from error


def _require_plain(folder: Path) -> None:
    """Refuse a split whose files are outside of its folder or not regular files.

    Raises:
      UserError: they are.
    """
    try:
        read_json_object(folder / "dataset_info.json", LARGEST_JSON)
        files = read_json_object(folder / "state.json", LARGEST_JSON)["_data_files"]
        names = [file["filename"] for file in files]
        if len(names) > _MOST_FILES or not all(Path(name).name == name for name in names):
            raise ValueError("its files are not those of its folder")
        if not names:
            raise ValueError("it is empty")
        for name in names:
            if not stat.S_ISREG(mode := (folder / name).stat().st_mode):
                raise ValueError(f"{name} is {kind_of(mode)}")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{folder} cannot be used: {one_line(error)}") from error


def import_datasets(what: str) -> Any:
    """Import the package `datasets` with its logging silenced.

    Raises:
      UserError: it is not installed, but `what` needs it.
    """
    try:
        import datasets
    except ImportError as error:
        raise UserError(f"{what} needs an extra; run: {install_extra('huggingface')}") from error
    if not sys.stderr.isatty():
        datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # no messages about retries
    return datasets
