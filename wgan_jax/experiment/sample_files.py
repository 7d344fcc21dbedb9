"""Where samples go: a picture, an animation, arrays, or a folder of pictures."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO

import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.experiment import pictures
from wgan_jax.experiment.sample import Arrays
from wgan_jax.files import atomic_write, temporary_folder

_OURS = re.compile(r"\d{6,}(-label-\d+)?\.png")
_ANIMATED = (".gif", ".apng")
FORMS = (".png", ".npz", *_ANIMATED)


def is_folder(path: str) -> bool:
    """Whether an --out names a folder of pictures."""
    return path.endswith(os.sep) or Path(path).is_dir() or not Path(path).suffix


def is_animated(path: Path) -> bool:
    return path.suffix in _ANIMATED


def write_samples(blocks: Iterator[Arrays], num: int, path: Path, *, folder: bool) -> None:
    """`num` samples to a grid (.png), to arrays (.npz) or each to a picture in a folder.

    A file appears when it is whole. Arrays and folders take memory for one block.

    Raises:
      UserError: samples that no picture shows, or a file that cannot be written.
    """
    first = next(blocks)
    blocks = itertools.chain([first], blocks)
    shape = first["samples"].shape[1:]
    if len(shape) != 3 and (folder or (path.suffix != ".npz" and shape != (2,))):
        raise UserError(f"samples of shape {shape} make no such picture; use .npz")
    if folder:
        _write_folder(blocks, path)
    elif path.suffix == ".npz":
        _whole(path, lambda file: _write_arrays(blocks, num, file))
    else:
        samples = np.concatenate([block["samples"] for block in blocks])
        draw = pictures.image_grid if len(shape) == 3 else pictures.points
        _whole(path, lambda file: draw(samples, file))


def write_walks(frames: Iterable[Arrays], path: Path) -> None:
    """Walks as rows of a grid (.png), as arrays [num, frames, ...] (.npz), or moving.

    Raises:
      UserError: as `write_samples`.
    """
    taken = list(frames)
    steps = [frame["samples"] for frame in taken]
    if steps[0].ndim != 4 and path.suffix != ".npz":
        raise UserError(f"samples of shape {steps[0].shape[1:]} make no such picture; use .npz")
    if path.suffix in _ANIMATED:
        _whole(path, lambda file: pictures.animation(steps, file, form=path.suffix))
        return
    rows = np.stack(steps, 1)
    if path.suffix == ".npz":
        arrays = {**taken[0], "samples": rows}
        _whole(path, lambda file: _write_arrays(iter([arrays]), len(rows), file))
    else:
        images, columns = rows.reshape(-1, *rows.shape[2:]), rows.shape[1]
        _whole(path, lambda file: pictures.image_grid(images, file, columns))


def _whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        write(file)


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


def _write_folder(blocks: Iterable[Arrays], path: Path) -> None:
    """Write beside the place, then move there: a failure leaves nothing half."""
    with _told(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(path.parent) as part:
            _write_pictures(blocks, part)
            if path.is_dir():
                _replace_pictures(part, path)
            else:
                part.rename(path)


def _replace_pictures(part: Path, folder: Path) -> None:
    """Put new pictures where older ones of ours were; what else the folder holds stays."""
    for old in folder.iterdir():
        if _OURS.fullmatch(old.name):
            old.unlink()
    for new in part.iterdir():
        new.replace(folder / new.name)


def _write_pictures(blocks: Iterable[Arrays], folder: Path) -> None:
    def save(number: int, pixels: np.ndarray, label: int | None) -> None:
        kind = "" if label is None else f"-label-{label}"
        picture = pictures.picture_of(pixels)
        picture.save(folder / f"{number:06}{kind}.png", compress_level=1)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        count = 0
        for block in blocks:
            pixels = pictures.to_pixels(block["samples"])
            labels = block.get("labels", [None] * len(pixels))
            numbers = range(count, count + len(pixels))
            list(pool.map(save, numbers, pixels, labels))
            count += len(pixels)


def _write_arrays(blocks: Iterable[Arrays], num: int, file: BinaryIO) -> None:
    """A .npz whose samples are written as they come; labels, small, wait for the end."""
    labels: list[np.ndarray] = []
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        with archive.open("samples.npy", "w", force_zip64=True) as entry:
            for number, block in enumerate(blocks):
                samples = np.ascontiguousarray(block["samples"])
                if number == 0:
                    shape = (num, *samples.shape[1:])
                    descr = np.lib.format.dtype_to_descr(samples.dtype)
                    header = {"descr": descr, "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(entry, header)
                entry.write(samples.tobytes())
                labels += [block["labels"]] if "labels" in block else []
        if labels:
            with archive.open("labels.npy", "w") as entry:
                np.lib.format.write_array(entry, np.concatenate(labels), allow_pickle=False)
