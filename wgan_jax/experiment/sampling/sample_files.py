"""Writes samples as a picture, an animation, arrays, a table, or a folder of pictures."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.experiment import plots
from wgan_jax.experiment.sampling.sample_tables import write_csv, write_parquet
from wgan_jax.experiment.schema import Arrays, Schema
from wgan_jax.files import atomic_write, temporary_folder

_PICTURE_NAME = re.compile(r"\d{6,}(-label-\d+)?\.png")
_ANIMATED, _TABLES = (".gif", ".apng"), {".csv": write_csv, ".parquet": write_parquet}
_ARRAYS = (".npy", ".npz")
_MAX_TOGETHER = 2**16  # samples that one picture or animation holds in memory
FORMS = (".png", ".npy", ".npz", *_TABLES, *_ANIMATED)


def is_folder(path: str) -> bool:
    """Returns whether an --out names a folder of pictures."""
    return path.endswith(os.sep) or Path(path).is_dir() or not Path(path).suffix


def is_animated(path: Path) -> bool:
    return path.suffix in _ANIMATED


def require_few(num: int) -> None:
    """Rejects pictures or interpolations of more samples than fit in memory together.

    Raises:
      UserError: `num` is too large.
    """
    if num > _MAX_TOGETHER:
        raise UserError(
            f"a picture or interpolations hold at most {_MAX_TOGETHER:,} samples, got {num:,}: "
            "use a smaller --num, or arrays, a table or a folder without --interpolate"
        )


def write_samples(
    blocks: Iterator[Arrays], num: int, path: Path, *, folder: bool, schema: Schema | None = None
) -> None:
    """Writes `num` samples as a grid (.png), arrays, a table, or a folder of pictures.

    Arrays (.npy, .npz) and tables (.csv, .parquet) are in the units of the schema. Files are
    written atomically. All formats except grids take memory for one block.

    Raises:
      UserError: the samples do not fit the format, are too many for a picture or the disk, or
        the file cannot be written.
    """
    if not folder and path.suffix not in (*_ARRAYS, *_TABLES):
        require_few(num)
    first, schema = next(blocks), schema or Schema()
    blocks = itertools.chain([first], blocks)
    shape = first["samples"].shape[1:]
    if path.suffix in _TABLES and not folder:
        columns = map(schema.columns, blocks)
        _write_file(path, lambda file: _TABLES[path.suffix](columns, file))
        return
    if len(shape) != 3 and (folder or (path.suffix not in _ARRAYS and shape != (2,))):
        forms = ", ".join(_TABLES if len(shape) == 1 else _ARRAYS)
        where = f", and {path} is a folder" if path.is_dir() else ""
        raise UserError(f"samples of shape {shape} are not images{where}; use {forms}")
    if folder:
        _write_folder(blocks, path)
    elif path.suffix in _ARRAYS:
        _write_arrays(map(schema.arrays, blocks), num, path)
    else:
        samples = np.concatenate([block["samples"] for block in blocks])
        draw = plots.image_grid if len(shape) == 3 else plots.points
        _write_file(path, lambda file: draw(samples, file))


def write_walks(frames: Iterable[Arrays], path: Path, schema: Schema | None = None) -> None:
    """Writes interpolations as rows of a grid (.png), arrays [num, frames, ...], or an animation.

    Raises:
      UserError: as for `write_samples`.
    """
    frames = list(frames)
    steps = [frame["samples"] for frame in frames]
    if path.suffix in _TABLES:
        raise UserError(f"interpolations do not fit a table: use {', '.join(_ARRAYS)}")
    if steps[0].ndim != 4 and path.suffix not in _ARRAYS:
        raise UserError(f"samples of shape {steps[0].shape[1:]} are not images; use .npz")
    if path.suffix in _ANIMATED:
        _write_file(path, lambda file: plots.animation(steps, file, form=path.suffix))
        return
    rows = np.stack(steps, 1)
    if path.suffix in _ARRAYS:
        arrays = (schema or Schema()).arrays({**frames[0], "samples": rows})
        _write_arrays(iter([arrays]), len(rows), path)
    else:
        images, columns = rows.reshape(-1, *rows.shape[2:]), rows.shape[1]
        _write_file(path, lambda file: plots.image_grid(images, file, columns))


def _write_file(path: Path, write: Callable[[BinaryIO], object]) -> None:
    with _reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        write(file)


@contextlib.contextmanager
def _reporting(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def _write_folder(blocks: Iterable[Arrays], path: Path) -> None:
    """Writes to a temporary folder and moves it into place: failures leave no partial results."""
    with _reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(path.parent) as part:
            _write_pictures(blocks, part)
            if path.is_dir():
                _replace_pictures(part, path)
            else:
                part.rename(path)


def _replace_pictures(part: Path, folder: Path) -> None:
    """Replaces former pictures of samples in a folder; leaves its other files alone."""
    for old in folder.iterdir():
        if _PICTURE_NAME.fullmatch(old.name):
            old.unlink()
    for new in part.iterdir():
        new.replace(folder / new.name)


def _write_pictures(blocks: Iterable[Arrays], folder: Path) -> None:
    def save(number: int, pixels: np.ndarray, label: int | None) -> None:
        kind = "" if label is None else f"-label-{label}"
        picture = plots.picture_of(pixels)
        picture.save(folder / f"{number:06}{kind}.png", compress_level=1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        count = 0
        for block in blocks:
            pixels = plots.to_pixels(block["samples"])
            labels = block.get("labels", [None] * len(pixels))
            numbers = range(count, count + len(pixels))
            list(pool.map(save, numbers, pixels, labels))
            count += len(pixels)


def _write_arrays(blocks: Iterator[Arrays], num: int, path: Path) -> None:
    """Writes samples to a .npy, with labels and conditions in others, or all to a .npz."""
    first = next(blocks)
    blocks = itertools.chain([first], blocks)
    _require_space(num * sum(x[:1].nbytes for x in first.values()), path)
    rest: dict[str, list[np.ndarray]] = {name: [] for name in first if name != "samples"}
    if path.suffix == ".npz":
        _write_file(path, lambda file: _write_npz(blocks, num, file, rest))
        return
    _write_file(path, lambda file: _write_npy(blocks, num, file, rest))
    for name, arrays in rest.items():
        sibling = path.with_name(f"{path.stem}-{name}.npy")
        _write_file(sibling, lambda file, x=arrays: _write_joined(x, file))  # type: ignore[misc]


def _require_space(size: int, path: Path) -> None:
    with _reporting(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(path.parent).free
    if size > free:
        raise UserError(f"{path} would take {size:,} bytes, but its disk has {free:,} left")


def _write_npy(
    blocks: Iterable[Arrays], num: int, file: IO[bytes], rest: dict[str, list[np.ndarray]]
) -> None:
    """Streams samples to a file; collects the smaller arrays of each block in `rest`."""
    for number, block in enumerate(blocks):
        samples = np.ascontiguousarray(block["samples"])
        if number == 0:
            file.write(_header(samples.dtype, (num, *samples.shape[1:])))
        file.write(samples.tobytes())
        for name in rest:
            rest[name].append(block[name])


def _header(dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """Returns the header of a .npy with column names in ASCII, as NumPy's own fails beyond Latin-1.

    NumPy reads it as a Python literal, in which characters may be escaped.
    """
    fields = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    text, magic = ascii(fields), np.lib.format.magic(2, 0)
    before = len(magic) + 4
    size = -(-(before + len(text) + 1) // np.lib.format.ARRAY_ALIGN) * np.lib.format.ARRAY_ALIGN
    text = f"{text:{size - before - 1}}\n"
    return magic + len(text).to_bytes(4, "little") + text.encode("ascii")


def _write_npz(
    blocks: Iterable[Arrays], num: int, file: BinaryIO, rest: dict[str, list[np.ndarray]]
) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("samples.npy", "w", force_zip64=True) as entry:
            _write_npy(blocks, num, entry, rest)
        for name, arrays in rest.items():
            with archive.open(f"{name}.npy", "w") as entry:
                _write_joined(arrays, entry)


def _write_joined(arrays: list[np.ndarray], file: IO[bytes]) -> None:
    joined = np.concatenate(arrays)
    _write_npy([{"samples": joined}], len(joined), file, {})
