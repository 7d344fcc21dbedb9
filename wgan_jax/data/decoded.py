"""Cache of images, decoded in parallel into one file of uint8 rows in the user's cache folder."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import os
import shutil
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from itertools import chain, islice
from pathlib import Path
from typing import Any

import numpy as np

from wgan_jax.data.image_files import Source
from wgan_jax.errors import UserError
from wgan_jax.files import cache_folder, temporary_folder

logger = logging.getLogger(__name__)

_FORMAT = 4
_BLOCK = 64  # files per task of a thread
_ROWS, _HASHES, _INDEX = "images.npy", "hashes.npy", "index.json"


@dataclasses.dataclass(frozen=True)
class Decoded:
    """Decoded images of one size.

    Attributes:
      path: of the file of rows, in NumPy's format.
      shape: [n, height, width, channels] of all rows.
      names: of the files, by row; those in `faults` have no pixels.
      hashes: uint64 [n], of the files' contents.
      faults: why a file is not an image, by its name.
      passed_over: number of skipped files, by kind.
    """

    path: Path
    shape: tuple[int, ...]
    names: list[str]
    hashes: np.ndarray
    faults: dict[str, str]
    passed_over: dict[str, int]


def decoded(
    source: Source, about: Any, shape: tuple[int, ...], decode: Callable[[bytes, str], np.ndarray]
) -> Decoded:
    """Return the images of a source, decoded now or by an earlier run.

    Args:
      source: the files.
      about: JSON values of everything besides the files that the pixels depend on.
      shape: of one image.
      decode: maps content and name of a file to uint8 pixels.

    Raises:
      UserError: the files cannot be listed, or the cache folder cannot be written.
    """
    place = [os.path.realpath(source.path), about]
    try:
        stamp = source.stamp()
    except OSError as error:
        raise UserError(f"{source.path} cannot be read: {error.strerror}") from error
    prefix, version = _digest(place), _digest(chain([_FORMAT], stamp))
    folder = cache_folder() / f"images-{prefix}-{version}"
    if (known := _read(folder)) is not None:
        # Other files may have changed while the images have not.
        skipped = known.passed_over if source.in_order else source.find().passed_over
        return dataclasses.replace(known, passed_over=skipped)
    listing = source.find()
    names = [file.name for file in listing.files]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(folder.parent) as unfinished:
            hashes, faults = _decode_all(source, names, unfinished / _ROWS, shape, decode)
            index = {"names": names, "shape": shape, "faults": faults}
            index |= {"passed_over": listing.passed_over}
            np.save(unfinished / _HASHES, hashes)
            (unfinished / _INDEX).write_text(json.dumps(index), encoding="utf-8")
            # Remove images of former versions of the files, but not those that another process
            # has just completed.
            for former in folder.parent.glob(f"images-{prefix}-*"):
                if former != folder or _read(folder) is None:
                    shutil.rmtree(former, ignore_errors=True)
            with contextlib.suppress(FileExistsError):
                _move(unfinished, folder)
    except OSError as error:
        raise UserError(
            f"{folder}, where decoded images are kept, cannot be written: "
            f"{error.strerror or error}; set XDG_CACHE_HOME to another folder"
        ) from error
    if (ready := _read(folder)) is None:
        raise UserError(f"{folder} changed while it was read: start again")
    return ready


def _move(unfinished: Path, folder: Path) -> None:
    try:
        unfinished.rename(folder)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError from error
        raise


def _read(folder: Path) -> Decoded | None:
    """Return the images decoded by an earlier run; None if they are missing or incomplete."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, EOFError):
        index = json.loads((folder / _INDEX).read_text(encoding="utf-8"))
        faults, names = index["faults"], index["names"]
        shape = (len(names), *index["shape"])
        with open(folder / _ROWS, "rb") as file:
            header = _header(file)
            complete = os.fstat(file.fileno()).st_size == file.tell() + int(np.prod(shape))
        if header == shape and complete:
            hashes = np.load(folder / _HASHES, allow_pickle=False)
            if (hashes.dtype, hashes.shape) == (np.uint64, (len(names),)):
                return Decoded(folder / _ROWS, shape, names, hashes, faults, index["passed_over"])
    return None


def _header(file: Any) -> tuple[int, ...]:
    np.lib.format.read_magic(file)
    return np.lib.format.read_array_header_1_0(file)[0]


def _decode_all(
    source: Source,
    names: list[str],
    path: Path,
    shape: tuple[int, ...],
    decode: Callable[[bytes, str], np.ndarray],
) -> tuple[np.ndarray, dict[str, str]]:
    """Write the rows of all files; return their hashes and the faults by name."""
    from tqdm import tqdm

    row, hashes, faults = int(np.prod(shape)), np.zeros(len(names), np.uint64), dict[str, str]()
    number = {name: i for i, name in enumerate(names)}

    with open(path, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (len(names), *shape)}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        start = file.tell()
        file.truncate(start + len(names) * row)

        stopped = threading.Event()

        def work(block: list[Any]) -> int:
            for name, content in block if source.in_order else source.contents(block):
                if stopped.is_set():
                    break
                i = number[name]
                try:
                    if isinstance(content, OSError):
                        raise content
                    hashes[i] = int.from_bytes(hashlib.sha256(content).digest()[:8])
                    pixels = decode(content, name)
                except UserError as error:
                    faults[name] = str(error)
                except OSError as error:
                    faults[name] = f"{name} cannot be read: {error.strerror or error}"
                except Exception as error:  # from a file that is broken in an unexpected way
                    faults[name] = f"{name} cannot be used: {type(error).__name__}: {error}"
                else:
                    os.pwrite(file.fileno(), pixels.tobytes(), start + i * row)
            return len(block)

        blocks = _blocks(iter(source.contents(names) if source.in_order else names))
        threads = os.cpu_count() or 1
        quiet = not sys.stderr.isatty()
        bar = tqdm(total=len(names), desc="decoding", unit=" images", disable=quiet, leave=False)
        # Pillow warns of damaged metadata, without the name of the file.
        quiet_pillow = warnings.catch_warnings(action="ignore", category=UserWarning)
        with bar, quiet_pillow, ThreadPoolExecutor(threads) as pool:
            pending: set[Any] = set()
            try:
                for block in blocks:
                    pending.add(pool.submit(work, block))
                    if len(pending) >= 2 * threads:
                        done, pending = wait(pending, return_when=FIRST_COMPLETED)
                        bar.update(sum(future.result() for future in done))
                bar.update(sum(future.result() for future in pending))
            except BaseException:
                stopped.set()
                raise
            finally:
                pool.shutdown(cancel_futures=True)
    return hashes, faults


def _blocks(items: Iterator[Any]) -> Iterator[list[Any]]:
    while block := list(islice(items, _BLOCK)):
        yield block


def _digest(values: Iterable[Any]) -> str:
    """Hash JSON values one by one: the text of a list of millions of files takes much memory."""
    digest = hashlib.sha256(b"[")
    for i, value in enumerate(values):
        digest.update(f"{', ' if i else ''}{json.dumps(value)}".encode())
    digest.update(b"]")
    return digest.hexdigest()[:16]


class StoredRows:
    """Array-like view of some rows of a file, which are read when they are indexed."""

    def __init__(self, path: Path, shape: tuple[int, ...], index: np.ndarray):
        with open(path, "rb") as file:
            _header(file)
            self._start, self._row = file.tell(), int(np.prod(shape[1:]))
        # Kept open while in use, even if the cache is deleted.
        self._file, self._index = os.open(path, os.O_RDONLY), index
        weakref.finalize(self, os.close, self._file)
        self.shape, self.dtype = (len(index), *shape[1:]), np.dtype(np.uint8)

    @property
    def nbytes(self) -> int:
        return len(self) * self._row

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, which: Any) -> np.ndarray:
        rows = self._index[which]
        if np.ndim(rows):
            out = np.empty((len(rows), *self.shape[1:]), np.uint8)
            for i, row in enumerate(rows):
                out[i] = self._read(int(row))
            return out
        return self._read(int(rows))

    def _read(self, row: int) -> np.ndarray:
        data = os.pread(self._file, self._row, self._start + row * self._row)
        return np.frombuffer(data, np.uint8).reshape(self.shape[1:])
