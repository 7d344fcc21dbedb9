"""Atomic file writes, and reads that do not trust what a path leads to.

Standard library only, so that every layer can use it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from wgan_jax.errors import UserError

_PART = re.compile(r"\.wgan_jax-[0-9a-f]{16}\.part")
# Absent on Windows, where file systems hardly have links, pipes or devices.
_NOFOLLOW, _NONBLOCK = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)
_DIRECTORY, _BINARY = getattr(os, "O_DIRECTORY", 0), getattr(os, "O_BINARY", 0)


def cache_folder() -> Path:
    """Return the cache folder: `wgan_jax` in XDG_CACHE_HOME, else in `~/.cache`.

    Raises:
      UserError: the user has no home folder.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "wgan_jax")
    except RuntimeError as error:
        raise UserError("no home folder for a cache: set XDG_CACHE_HOME") from error


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a new file that replaces `path` once it is completely on disk.

    Until then it has a random name in the same folder, so nothing that exists there
    is ever written into; a link at `path` is replaced, not followed. Unfinished files
    of killed processes in the folder are removed.

    Raises:
      UserError: it cannot be written; an existing file at `path` is kept.
    """
    try:
        path.parent.mkdir(exist_ok=True)
        remove_leftovers(path.parent)
        part, descriptor = _new_file(path.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Create a randomly named folder in `parent`, removed at the end unless it was moved."""
    remove_leftovers(parent)
    folder = parent / _random_name()
    folder.mkdir()
    try:
        with _locked_folder(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def open_append(path: Path) -> BinaryIO:
    """Open a regular or new file for appending; links are not followed.

    A file with other hard links is copied first, so that those do not change.

    Raises:
      OSError: it is not a regular file, or cannot be written.
    """
    with contextlib.suppress(FileNotFoundError):
        _require_regular(path, os.lstat(path))
    file = _opened(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, "ab", follow=False)
    if os.fstat(file.fileno()).st_nlink < 2:
        return file
    file.close()
    with open_regular(path) as old, atomic_write(path) as new:
        shutil.copyfileobj(old, new)
    return open_append(path)


def open_regular(path: Path, *, follow: bool = False) -> BinaryIO:
    """Open a regular file for reading; reject anything else without blocking.

    Args:
      path: path of the file.
      follow: whether it may be a link. Right for a path from the user, wrong for a
        name in an untrusted folder.

    Raises:
      OSError: it is missing, a link, a pipe, a device, a folder, or cannot be read.
    """
    _require_regular(path, os.stat(path) if follow else os.lstat(path))  # devices stay unopened
    return _opened(path, os.O_RDONLY, "rb", follow=follow)


def read_file(path: Path, limit: int, *, follow: bool = False) -> bytes:
    """Read a regular file of at most `limit` bytes; see `open_regular`.

    Raises:
      OSError: as for `open_regular`, or the file is larger.
    """
    with open_regular(path, follow=follow) as file:
        size = os.fstat(file.fileno()).st_size
        data = file.read(limit + 1) if size <= limit else b""
    if max(size, len(data)) > limit:
        message = f"it is larger than the limit of {limit:,} bytes"
        raise OSError(errno.EFBIG, message, str(path))
    return data


def read_json_object(path: Path, limit: int) -> dict[str, Any]:
    """Read the object in a JSON file of at most `limit` bytes, which may be a link.

    Raises:
      OSError: it cannot be read, is not a regular file, or is larger.
      ValueError: it does not hold a JSON object.
    """
    value = json.loads(read_file(path, limit, follow=True))
    if not isinstance(value, dict):
        raise ValueError(f"{path.name} does not hold an object")
    return value


def kind_of(mode: int) -> str:
    """Return the kind of a file in words, from its mode."""
    kinds = {stat.S_IFREG: "a file", stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link"}
    kinds |= {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk, if its file system supports that."""
    if not _DIRECTORY:
        return
    descriptor = os.open(folder, os.O_RDONLY | _DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete unfinished files of killed processes in a folder, not those being written."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for name in [entry.name for entry in entries if _PART.fullmatch(entry.name)]:
            with contextlib.suppress(OSError):
                _remove_unless_locked(folder / name)


def is_leftover(path: Path) -> bool:
    """Return whether a file is an unfinished one of `atomic_write`."""
    return _PART.fullmatch(path.name) is not None


def _new_file(folder: Path) -> tuple[Path, int]:
    """Create a file, locked to show that this process is still writing it."""
    while True:
        part = folder / _random_name()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NOFOLLOW | _BINARY
        descriptor = os.open(part, flags, 0o666)
        try:
            _lock(descriptor, wait=True)
            if os.fstat(descriptor).st_nlink:  # else another process removed it as a leftover
                return part, descriptor
        except OSError:
            os.close(descriptor)
            part.unlink(missing_ok=True)
            raise
        os.close(descriptor)


@contextlib.contextmanager
def _locked_folder(folder: Path) -> Iterator[None]:
    descriptor = os.open(folder, os.O_RDONLY | _DIRECTORY) if _DIRECTORY else None
    try:
        if descriptor is not None:
            _lock(descriptor)
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _remove_unless_locked(path: Path) -> None:
    if not stat.S_ISREG(mode := os.lstat(path).st_mode) and not stat.S_ISDIR(mode):
        path.unlink()  # a link or pipe is never being written
        return
    descriptor = os.open(path, os.O_RDONLY | _NOFOLLOW | _NONBLOCK)
    try:
        if _lock(descriptor):
            shutil.rmtree(path) if stat.S_ISDIR(mode) else path.unlink()
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool = False) -> bool:
    """Return whether the lock was acquired; False also if the file system has no locks."""
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except (ImportError, OSError):
        return False
    return True


def _opened(path: Path, flags: int, mode: str, *, follow: bool) -> BinaryIO:
    flags |= _NONBLOCK | _BINARY | (0 if follow else _NOFOLLOW)
    descriptor = os.open(path, flags, 0o666)
    try:
        _require_regular(path, os.fstat(descriptor))
        return os.fdopen(descriptor, mode)  # type: ignore[return-value]
    except BaseException:
        os.close(descriptor)
        raise


def _require_regular(path: Path, info: os.stat_result) -> None:
    if not stat.S_ISREG(info.st_mode):
        message = f"it is {kind_of(info.st_mode)}, not a regular file"
        raise OSError(errno.EINVAL, message, str(path))


def _random_name() -> str:
    return f".wgan_jax-{secrets.token_hex(8)}.part"
