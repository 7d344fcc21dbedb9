"""Checksums of a folder: the size and SHA-256 of each of its files.

They are verified before anything parses the files, so readers of the folder, including
native libraries, only see bytes that were written.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

NAME = "checksums.json"
_FORMER_NAME = "seal.json"
_MAX_BYTES, _THREADS = 2**22, 16


def write_checksums(folder: Path) -> None:
    """Write the checksums of a folder, and sync the folder to disk.

    Raises:
      ValueError: the folder contains something other than regular files.
      OSError: writing failed.
    """
    checksums = {name: [_size(path), _digest(path)] for name, path in _files(folder)}
    (folder / NAME).write_text(json.dumps({"files": checksums}, indent=1), encoding="utf-8")
    everything = [*(path for _, path in _files(folder)), *_folders(folder)]
    with ThreadPoolExecutor(_THREADS) as pool:  # concurrent syncs cost about as much as one
        list(pool.map(sync, everything))


def verify_checksums(folder: Path, limit: int) -> None:
    """Compare a folder with its checksums.

    Only files that the folder itself lists are opened; links are not followed.

    Args:
      limit: maximum total size of the files in bytes, so that forged checksums
        cannot make this read for hours.

    Raises:
      ValueError: a file differs, is missing or does not belong to the folder.
      OSError: a file cannot be read.
    """
    record = folder / NAME
    if not record.exists() and (folder / _FORMER_NAME).exists():
        record = folder / _FORMER_NAME
    checksums = _read(record)
    files = {}
    for name, path in _files(folder):
        if name != record.name:
            if name not in checksums:  # stop at the first: there may be millions
                raise ValueError(f"{name} does not belong there")
            files[name] = path
    if missing := sorted(checksums.keys() - files.keys()):
        raise ValueError(f"{missing[0]} is missing")
    sizes = {name: _size(path) for name, path in files.items()}
    if sum(sizes.values()) > limit:
        raise ValueError(f"it takes {sum(sizes.values()):,} bytes, more than {limit:,}")
    for name, path in files.items():
        if checksums[name] != [sizes[name], _digest(path)]:
            raise ValueError(f"{name} is not as it was written")


def sync(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, list]:
    if not path.is_file() or path.is_symlink():
        raise ValueError(f"it has no {path.name}")
    if _size(path) > _MAX_BYTES:
        raise ValueError(f"its {path.name} is too large")
    stored = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(stored, dict) or not isinstance(stored.get("files"), dict):
        raise ValueError(f"its {path.name} holds no checksums")
    return stored["files"]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for subfolder in _folders(folder):
        for entry in os.scandir(subfolder):
            path = Path(entry.path)
            if entry.is_file(follow_symlinks=False):
                yield str(path.relative_to(folder)), path
            elif not entry.is_dir(follow_symlinks=False):
                raise ValueError(f"{path.relative_to(folder)} is not a regular file")


def _folders(folder: Path) -> Iterator[Path]:
    return (Path(root) for root, _, _ in os.walk(folder, followlinks=False))


def _size(path: Path) -> int:
    return path.stat(follow_symlinks=False).st_size


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
