"""The checksums of a folder: the size and SHA-256 of each of its files.

They are verified before anything parses the files. What then reads the folder, native
libraries among them, sees the bytes that were written or nothing at all.
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
_LARGEST, _THREADS = 2**22, 16


def write_checksums(folder: Path) -> None:
    """Write the checksums of a folder, and all of it through to the disk.

    Raises:
      ValueError: something in it is no plain file.
      OSError: the disk refuses.
    """
    found = {name: [_size(path), _digest(path)] for name, path in _files(folder)}
    (folder / NAME).write_text(json.dumps({"files": found}, indent=1), encoding="utf-8")
    everything = [*(path for _, path in _files(folder)), *_folders(folder)]
    with ThreadPoolExecutor(_THREADS) as pool:  # a disk takes many waits at once as one
        list(pool.map(sync, everything))


def verify_checksums(folder: Path, limit: int) -> None:
    """Compare a folder with its checksums.

    Only names that the folder itself lists are opened; links are not followed.

    Args:
      limit: bytes that all files may have together, so that forged
        checksums cannot make us read for hours.

    Raises:
      ValueError: what differs.
      OSError: a file cannot be read.
    """
    place = folder / NAME
    if not place.exists() and (folder / _FORMER_NAME).exists():
        place = folder / _FORMER_NAME
    known = _read(place)
    found = {}
    for name, path in _files(folder):
        if name != place.name:
            if name not in known:  # at once: there may be millions
                raise ValueError(f"{name} does not belong there")
            found[name] = path
    if lost := sorted(known.keys() - found.keys()):
        raise ValueError(f"{lost[0]} is missing")
    sizes = {name: _size(path) for name, path in found.items()}
    if sum(sizes.values()) > limit:
        raise ValueError(f"it takes {sum(sizes.values()):,} bytes where {limit:,} are the most")
    for name, path in found.items():
        if known[name] != [sizes[name], _digest(path)]:
            raise ValueError(f"{name} is not as it was written")


def sync(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, list]:
    if not path.is_file() or path.is_symlink():
        raise ValueError(f"it has no {path.name}")
    if _size(path) > _LARGEST:
        raise ValueError(f"its {path.name} is too large")
    stored = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(stored, dict) or not isinstance(stored.get("files"), dict):
        raise ValueError(f"its {path.name} holds no checksums")
    return stored["files"]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    for place in _folders(folder):
        for entry in os.scandir(place):
            path = Path(entry.path)
            if entry.is_file(follow_symlinks=False):
                yield str(path.relative_to(folder)), path
            elif not entry.is_dir(follow_symlinks=False):
                raise ValueError(f"{path.relative_to(folder)} is no plain file")


def _folders(folder: Path) -> Iterator[Path]:
    return (Path(place) for place, _, _ in os.walk(folder, followlinks=False))


def _size(path: Path) -> int:
    return path.stat(follow_symlinks=False).st_size


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
