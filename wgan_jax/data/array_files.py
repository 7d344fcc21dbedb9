"""Arrays in .npy, .npz and HDF5 files: memory-mapped if possible, never unpickled."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from wgan_jax.data.remote import expand_user, require_local
from wgan_jax.errors import UserError, install_extra, one_line, suggest
from wgan_jax.files import open_regular

HDF5 = (".h5", ".hdf5")
SUFFIXES = (".npy", ".npz", *HDF5)
# Limit on the compression ratio above a size: images reach 20, bombs 1,000.
_SMALL, _LARGEST_RATIO = 2**28, 100
_MOST_ARRAYS, _BLOCK = 10_000, 2**24


def open_array(path: str, key: str | None, option: str) -> np.ndarray:
    """Open an array of a file: the one named `key`, which may be None if there is only one.

    Args:
      path: of a .npy, .npz or HDF5 file.
      key: name of an array in a .npz or HDF5 file.
      option: the flag that gives `key`, for messages.

    Raises:
      UserError: no such file or array, one of Python objects, or an incomplete one.
    """
    require_local(path)
    file = Path(expand_user(path))
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"{path!r} should end in {', '.join(SUFFIXES)}")
    try:
        if suffix == ".npy":
            if key is not None:
                raise UserError(f"{path} holds one array without a name: leave out {option} {key}")
            return _mapped(file)
        read = _read_npz if suffix == ".npz" else _read_hdf5
        with open_regular(file, follow=True) as opened:
            return read(file, opened, key, option)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = one_line(error)
        if reason.startswith("mmap length"):
            reason = "it ends before its array does"
        elif "object" in reason.lower():
            reason = "it holds Python objects, which are never loaded: save plain numbers or text"
        raise UserError(f"{path} holds no array that can be read: {reason}") from error


def samples_key(path: str) -> str | None:
    """Return the key of samples in a file that `sample` wrote; None for a file of one array."""
    try:
        names = zipfile.ZipFile(path).namelist() if path.endswith(".npz") else []
    except (OSError, zipfile.BadZipFile):
        return None  # reported when the file is read
    return "samples" if "samples.npy" in names else None


def _mapped(path: Path) -> np.ndarray:
    open_regular(path, follow=True).close()  # opening a pipe would block
    if path.stat().st_size == 0:
        raise ValueError("it is empty")
    with open(path, "rb") as file:
        if file.read(6) != b"\x93NUMPY":
            raise ValueError("it is not a .npy file")
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    # A plain array over the same pages, so that results derived from it are not memmaps.
    return np.asarray(array)


def _read_npz(path: Path, file: BinaryIO, key: str | None, option: str) -> np.ndarray:
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
        if len(entries) > _MOST_ARRAYS:
            raise ValueError(f"it lists {len(entries):,} arrays")
        named = {
            entry.filename.removesuffix(".npy"): entry
            for entry in entries
            if entry.filename.endswith(".npy")
        }
        entry = named[pick(list(named), key, option, str(path))]
        if entry.flag_bits & 1:
            raise ValueError("it is encrypted")
        _require_likely_size(entry.file_size, entry.compress_size)
        with archive.open(entry) as packed:
            return _unpack(packed, entry.file_size)


def _unpack(packed: Any, size: int) -> np.ndarray:
    """Read an array into memory of exactly the size of its entry."""
    version = np.lib.format.read_magic(packed)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ValueError(f"it holds an array in version {version} of the format")
    # Version 3 differs from version 2 only in the encoding of field names, which are refused.
    if version == (1, 0):
        shape, by_columns, dtype = np.lib.format.read_array_header_1_0(packed)
    else:
        shape, by_columns, dtype = np.lib.format.read_array_header_2_0(packed)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    count = math.prod(shape) * dtype.itemsize
    if min((0, *shape)) < 0 or count != size - packed.tell():
        raise ValueError(f"it holds no array of {dtype}{list(shape)}, though it says so")
    flat = np.empty(count, np.uint8)
    view, start = memoryview(flat.data), 0
    while start < count:
        count_read = packed.readinto(view[start : start + _BLOCK])
        if not count_read:
            raise ValueError("it ends early")
        start += count_read
    if not count:
        return np.empty(shape, dtype)
    return flat.view(dtype).reshape(shape, order="F" if by_columns else "C")


def _require_likely_size(unpacked: int, packed: int) -> None:
    if unpacked > max(_SMALL, _LARGEST_RATIO * packed):
        raise ValueError(
            f"it unpacks {packed:,} bytes to {unpacked:,}, which looks like a decompression bomb: "
            f"save the array as .npy"
        )


def _read_hdf5(path: Path, file: BinaryIO, key: str | None, option: str) -> np.ndarray:
    try:
        import h5py
    except ImportError as error:
        raise UserError(f"HDF5 needs an extra; run: {install_extra('hdf5')}") from error
    with h5py.File(file, "r") as opened:
        arrays = dict(_arrays_of(h5py, opened))
        data = arrays[pick(list(arrays), key, option, str(path))]
        if data.is_virtual or data.external:
            raise ValueError("its values are in other files, which are not followed")
        if data.shape is None:
            raise ValueError("it is empty")
        if data.dtype.hasobject:
            if h5py.check_string_dtype(data.dtype) is None:
                raise ValueError("it holds Python objects")
            return data.asstr()[...].astype(str)
        if data.chunks is not None:
            _require_likely_size(data.size * data.dtype.itemsize, data.id.get_storage_size())
        return data[...]


def _arrays_of(
    h5py: Any, group: Any, prefix: str = "", depth: int = 0
) -> Iterator[tuple[str, Any]]:
    """Yield the arrays of a file by path. Links are skipped: they may leave the file or loop."""
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink) or depth > 16:
            continue
        member = group[name]
        if isinstance(member, h5py.Dataset):
            yield f"{prefix}{name}", member
        elif isinstance(member, h5py.Group):
            yield from _arrays_of(h5py, member, f"{prefix}{name}/", depth + 1)


def pick(names: list[str], key: str | None, option: str, where: str) -> str:
    """Return the name of the selected array.

    Raises:
      UserError: no array has that name, or there are several to choose from.
    """
    if key is not None and key.strip("/") in names:
        return key.strip("/")
    listed = ", ".join(names)[:300] or "no arrays"
    if key is not None:
        hint = suggest(key, names, f"it holds {listed}")
        raise UserError(f"{where} has no array {key!r}; {hint}")
    if len(names) != 1:
        raise UserError(f"{where} holds {listed}: name one with {option}")
    return names[0]
