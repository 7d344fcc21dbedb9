"""Files of named arrays: .npz or .safetensors, never pickle, checked by SHA-256."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.files import atomic_write

Arrays = dict[str, np.ndarray]

_ABOUT = "__metadata__"
SUFFIXES = (".safetensors", ".npz")


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], about: Mapping[str, str]) -> None:
    """Write arrays with words about them, and their digest, as a whole or not at all.

    Raises:
      UserError: another suffix, or a file that cannot be written.
    """
    require_suffix(path)
    words = {**about, "sha256": digest(arrays)}
    with atomic_write(path) as file:
        if path.suffix == ".npz":
            text = np.frombuffer(json.dumps(words).encode(), np.uint8)
            named: dict[str, Any] = {**arrays, _ABOUT: text}
            np.savez(file, allow_pickle=False, **named)
        else:
            from safetensors.numpy import save

            file.write(save(dict(arrays), metadata=words))


def read_arrays(path: Path, sha256: str | None = None) -> tuple[Arrays, dict[str, str]]:
    """The arrays of a file, and the words about them.

    Args:
      path: .npz or .safetensors.
      sha256: of the whole file. Needed where the file does not carry a digest of its own.

    Raises:
      UserError: no such file, one that cannot be read without pickle, or another SHA-256.
    """
    require_suffix(path)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
    if sha256 is not None and found != sha256.lower():
        raise UserError(f"{path} has the SHA-256 {found}, not {sha256.lower()}")
    try:
        arrays, words = _read(path)
    except Exception as error:  # readers of broken files raise many kinds
        raise UserError(f"{path} holds no arrays that can be read: {error}") from error
    if "sha256" in words:
        if words["sha256"] != digest(arrays):
            raise UserError(f"{path} is damaged: its arrays are not those that were written")
    elif sha256 is None:
        raise UserError(
            f"{path} carries no digest: say which file you mean with --sha256 (it is {found})"
        )
    return arrays, words


def digest(arrays: Mapping[str, np.ndarray]) -> str:
    """SHA-256 of all names, dtypes, shapes and values.

    Example:
      >>> import numpy as np
      >>> digest({"a": np.ones(2)}) == digest({"a": np.ones((2, 1))})
      False
    """
    total = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        total.update(f"{name}\0{array.dtype.str}\0{arrays[name].shape}\0".encode())
        total.update(array.tobytes())
    return total.hexdigest()


def require_suffix(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise UserError(f"{path} should end in {' or '.join(SUFFIXES)}")


def _read(path: Path) -> tuple[Arrays, dict[str, str]]:
    if path.suffix == ".npz":
        if not zipfile.is_zipfile(path):
            raise ValueError("it is no .npz")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        text = arrays.pop(_ABOUT, None)
        words = {} if text is None else json.loads(text.tobytes())
        return arrays, {str(k): str(v) for k, v in words.items()}
    from safetensors import safe_open

    with safe_open(path, framework="numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
