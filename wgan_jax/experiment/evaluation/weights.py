"""Files of named arrays: .npz or .safetensors, never pickle, verified by SHA-256."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.files import atomic_write, read_file

Arrays = dict[str, np.ndarray]

_ABOUT = "__metadata__"
SUFFIXES = (".safetensors", ".npz")
# The largest network to read, Inception, has 96 MB.
_LARGEST_FILE, _LARGEST_HEADER, _MOST_ARRAYS = 2**27, 2**20, 10_000


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> None:
    """Write arrays with string metadata and their digest, atomically.

    Raises:
      UserError: the suffix is unknown, or the file cannot be written.
    """
    require_suffix(path)
    metadata = {**about, "sha256": digest(arrays)}
    with atomic_write(path) as file:
        if path.suffix == ".npz":
            text = np.frombuffer(json.dumps(metadata).encode(), np.uint8)
            named: dict[str, Any] = {**arrays, _ABOUT: text}
            np.savez(file, allow_pickle=False, **named)
        else:
            from safetensors.numpy import save

            file.write(save(dict(arrays), metadata=metadata))


def read_arrays(
    path: Path, sha256: str | None = None, *, follow: bool = True
) -> tuple[Arrays, dict[str, str]]:
    """Read the arrays of a file, and its string metadata.

    Args:
      path: .npz or .safetensors.
      sha256: SHA-256 of the whole file; required if the file contains no digest of its own.
      follow: whether the file may be a link.

    Raises:
      UserError: the file is missing, too large or not readable without pickle, or its
        SHA-256 is another.
    """
    require_suffix(path)
    try:
        data = read_file(path, _LARGEST_FILE, follow=follow)
        actual = hashlib.sha256(data).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if sha256 is not None and actual != sha256.lower():
        raise UserError(f"{path} has the SHA-256 {actual}, not {sha256.lower()}")
    try:
        arrays, metadata = (_npz if path.suffix == ".npz" else _safetensors)(data)
    except Exception as error:  # readers raise many kinds for broken files
        reason = str(error) or type(error).__name__
        raise UserError(f"{path} holds no arrays that can be read: {reason}") from error
    if "sha256" in metadata:
        if metadata["sha256"] != digest(arrays):
            raise UserError(f"{path} is damaged: its arrays do not match its digest")
    elif sha256 is None:
        raise UserError(
            f"{path} contains no digest: give that of the file by --sha256 (it is {actual})"
        )
    return arrays, metadata


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256 of all names, dtypes, shapes and values.

    Example:
      >>> import numpy as np
      >>> digest({"a": np.ones(2)}) == digest({"a": np.ones((2, 1))})
      False
    """
    sha256 = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        sha256.update(f"{name}\0{array.dtype.str}\0{arrays[name].shape}\0".encode())
        sha256.update(array.tobytes())
    return sha256.hexdigest()


def require_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} should end in {' or '.join(SUFFIXES)}")


def _npz(data: bytes) -> tuple[Arrays, dict[str, str]]:
    """Read the arrays of a .npz, with the limit on file size also on its unpacked size."""
    if data.count(b"PK\x01\x02") > _MOST_ARRAYS:  # signature of each entry in the directory
        raise ValueError(f"it lists more than {_MOST_ARRAYS:,} arrays")
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if (size := sum(entry.file_size for entry in entries)) > _LARGEST_FILE:
            raise ValueError(f"it unpacks to {size:,} bytes, more than {_LARGEST_FILE:,}")
        arrays = {e.filename.removesuffix(".npy"): _npy(archive.read(e)) for e in entries}
    text = arrays.pop(_ABOUT, None)
    metadata = {} if text is None else json.loads(text.tobytes())
    return arrays, {str(k): str(v) for k, v in metadata.items()}


def _npy(data: bytes) -> np.ndarray:
    """Read an array with exactly as many bytes as its header claims; never pickled objects."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"it holds an array of the format's version {version}")
    read_header = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
    shape, by_columns, dtype = read_header(file)
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - file.tell():
        raise ValueError(f"it does not hold the array {dtype}{list(shape)} that its header claims")
    if 0 in shape:
        return np.empty(shape, dtype)
    array = np.frombuffer(data, dtype, offset=file.tell())
    return array.reshape(shape, order="F" if by_columns else "C")


def _safetensors(data: bytes) -> tuple[Arrays, dict[str, str]]:
    from safetensors.numpy import load

    length = int.from_bytes(data[:8], "little")
    if length > min(len(data), _LARGEST_HEADER):
        raise ValueError(f"it has a header of {length:,} bytes")
    metadata = json.loads(data[8 : 8 + length]).get(_ABOUT) or {}
    return load(data), {str(k): str(v) for k, v in metadata.items()}
