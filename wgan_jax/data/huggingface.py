"""Data set of images from Hugging Face: a local folder, or a data set of the Hub by name."""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from wgan_jax.data.columns import chosen
from wgan_jax.data.dataset import HELD_OUT, Dataset
from wgan_jax.data.decoded_images import DecodedImages, Parts
from wgan_jax.data.image_files import Found, ImageFile
from wgan_jax.data.remote import expand_user, local_copy, require_local
from wgan_jax.data.rows import classes
from wgan_jax.data.saved_sets import (
    LARGEST_JSON,
    import_datasets,
    is_saved_set,
    open_saved_set,
    saved_splits,
)
from wgan_jax.errors import UserError, one_line, suggest
from wgan_jax.files import read_json_object, temporary_folder

logger = logging.getLogger(__name__)

_HUB = "hf://datasets/"
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)
_NEEDS = "--dataset huggingface"


@dataclasses.dataclass(frozen=True, kw_only=True)
class HuggingFace(DecodedImages):
    """Images of a Hugging Face data set, saved by `save_to_disk` or on the Hub.

    They are decoded once, like those of a folder. Code that comes with a data set is never run.
    A Hub data set is downloaded if its name was given on the command line, and kept.

    Example:
      >>> HuggingFace(path="ylecun/mnist", channels=1, labels=True).struct(8)[0].shape
      (8, 32, 32, 1)
    """

    location_field: ClassVar[str] = "path"

    path: str = ""
    """Folder that save_to_disk wrote, or OWNER/NAME of a data set on the Hub."""
    subset: str | None = None
    """Name of the subset (configuration) on the Hub, for data sets that have several."""
    split: str = "train"
    """Name of the split to train on."""
    image: str | None = None
    """Name of the column of images; not needed if there is only one."""
    label: str | None = None
    """Name of the column of classes, which turns labels on; not needed if there is only one column
    of class labels."""
    labels: bool = False
    """Read pairs of image and label, for class-conditional networks."""
    held_out: float = 0.0
    """Fraction of the images kept for evaluation, chosen by a hash of their content; if 0, a split
    called validation or test is held out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label is not None:
            object.__setattr__(self, "labels", True)

    def num_classes(self) -> int:
        return len(self.summary()[1]) if self.labels else 0

    def summary(self) -> tuple[int | None, tuple[str, ...]]:
        rows, _ = self._rows(self.split)
        self._image_column(rows)  # is refused where there is none
        return len(rows), self._class_names(rows) if self.labels else ()

    def address_to_copy(self) -> str | None:
        is_here = not self._hub_name() or self._copy().is_dir()
        return None if is_here else self.path

    def read(self) -> Parts:
        return self._read(self.split)

    def open_held_out(self) -> Dataset | None:
        if self.held_out:
            return super().open_held_out()
        others = [name for name in HELD_OUT if name in self._splits() and name != self.split]
        if not others:
            return None
        parts = self._read(others[0])
        return self._dataset(parts, parts.train, flip=False)

    def _read(self, split: str) -> Parts:
        rows, folder = self._rows(split)
        column = self._image_column(rows)
        images = self.decoded(_Images(folder, rows, column, split), split, column)
        held_out = images.hashes < np.uint64(self.held_out * 2**64)
        if not self.labels:
            return Parts.of(images, self, ~held_out, held_out)
        good = np.array([name not in images.faults for name in images.names], bool)
        labels = np.zeros(len(good), np.int32)
        # A held-out split has the classes of the training split.
        names = self._class_names(self._rows(self.split)[0])
        labels[good] = self._numbers(rows, names, np.flatnonzero(good))
        return Parts.of(images, self, ~held_out, held_out, labels, names)

    def _image_column(self, rows: Any) -> str:
        """Return the column of images."""
        images = [name for name, kind in rows.features.items() if _kind(kind) == "Image"]
        if self.image is not None:
            chosen([self.image], list(rows.features), "--dataset.image", self.path)
            if self.image not in images and "binary" not in str(rows.features[self.image]):
                raise UserError(
                    f"the column {self.image!r} of {self.path} holds no images"
                    f"{f', but {images[0]!r} does' if images else ''}"
                )
            return self.image
        if len(images) != 1:
            columns = ", ".join(f"{name} ({_kind(kind)})" for name, kind in rows.features.items())
            hint = "; for rows of numbers, use --dataset table"
            raise UserError(
                f"{self.path} has the columns {columns[:300]}: "
                f"{'name one of images in --dataset.image' if images else f'none of images{hint}'}"
            )
        return images[0]

    def _label_column(self, rows: Any) -> str:
        """Return the column of classes."""
        features = rows.features
        labels = [name for name, kind in features.items() if _kind(kind) == "ClassLabel"]
        if self.label is not None:
            chosen([self.label], list(features), "--dataset.label", self.path)
        elif len(labels) != 1:
            several = f"several columns of class labels, {', '.join(labels)[:300]}"
            none = f"no column of class labels among {', '.join(features)[:300]}"
            raise UserError(
                f"{self.path} has {several if labels else none}: name one in --dataset.label"
            )
        return self.label or labels[0]

    def _class_names(self, rows: Any) -> tuple[str, ...]:
        """Return the names of the classes 0, 1, ...: those of the column, or its sorted values."""
        column = self._label_column(rows)
        if _kind(feature := rows.features[column]) == "ClassLabel":
            return tuple(map(str, feature.names or ()))
        what = f"the column {column!r} of {self.path}"
        return classes(np.array(_values(rows, column, what)), what)[1]

    def _numbers(self, rows: Any, names: tuple[str, ...], index: np.ndarray) -> np.ndarray:
        """Return the class of each row in `index`, int32 [n]."""
        column = self._label_column(rows)
        what = f"the column {column!r} of {self.path}"
        values = _values(rows, column, what)
        if _kind(rows.features[column]) == "ClassLabel":
            known = {i: i for i in range(len(names))}
        else:
            known = {value: names.index(str(value)) for value in set(values) if str(value) in names}
        strange = [values[i] for i in index if values[i] not in known]
        if strange:
            raise UserError(
                f"{what} holds {strange[0]!r} in {len(strange):,} rows, which is none of the "
                f"{len(names):,} classes (-1 stands for no label): train without labels, or on "
                f"another --dataset.split"
            )
        return np.array([known[values[i]] for i in index], np.int32)

    def _rows(self, split: str) -> tuple[Any, Path]:
        """Open a split as `datasets.Dataset`, downloaded if need be; return it and its folder."""
        splits = self._splits()
        if split not in splits:
            hint = suggest(split, list(splits), f"it has {', '.join(splits)[:300]}")
            raise UserError(f"{self.path} has no split {split!r}: {hint}")
        return open_saved_set(splits[split], _NEEDS), splits[split]

    def _splits(self) -> dict[str, Path]:
        """Return the folder of each split; a data set without splits is one split of any name."""
        if not self.path:
            raise UserError("--dataset huggingface needs a --dataset.path, a folder or a name")
        name = self._hub_name()
        folder = self._downloaded(name) if name else Path(expand_user(self.path))
        if is_saved_set(folder):
            own = None
            with contextlib.suppress(OSError, ValueError, RecursionError):
                own = read_json_object(folder / "state.json", LARGEST_JSON).get("_split")
            return {str(own or self.split): folder}
        if not folder.exists():
            raise UserError(
                f"there is no folder {self.path}, and a data set of the Hub is named OWNER/NAME"
            )
        if not (folder / "dataset_dict.json").exists():
            raise UserError(
                f"{self.path} is not a folder that save_to_disk of `datasets` wrote (for images in "
                f"folders, use --dataset folder; for .parquet files, --dataset table)"
            )
        return saved_splits(folder)

    def _hub_name(self) -> str:
        """Return the name of a data set of the Hub; empty if the path is local."""
        name = self.path.removeprefix(_HUB).rstrip("/")
        is_address = self.path.startswith(_HUB)
        if not is_address:
            require_local(self.path)
        if not _HUB_NAME.fullmatch(name):
            return ""
        # A missing folder in an existing one is a mistyped path, not a name.
        here = Path(name)
        return name if is_address or not (here.exists() or here.parent.exists()) else ""

    def _copy(self) -> Path:
        """Return the local folder of a data set of the Hub."""
        subset = re.sub(r"[^\w.-]", "_", self.subset or "default")
        return local_copy(f"{_HUB}{self._hub_name()}") / f"set-{subset}"

    def _downloaded(self, name: str) -> Path:
        """Download a data set of the Hub once; return its folder."""
        copy = self._copy()
        if copy.is_dir():
            return copy
        datasets = import_datasets(_NEEDS)
        logger.info(f"downloading {name} from the Hub, once")
        try:
            splits = datasets.load_dataset(name, self.subset)
            copy.parent.mkdir(parents=True, exist_ok=True)
            with temporary_folder(copy.parent) as unfinished:
                splits.save_to_disk(str(unfinished / "set"))
                (unfinished / "set").rename(copy)
        except Exception as error:  # from the network, the Hub, its files or the disk
            raise UserError(
                f"{name} could not be downloaded from the Hub ({type(error).__name__}: "
                f"{one_line(error)}), and there is no such folder"
            ) from error
        return copy


class _Images:
    """The column of images of a split, as an `image_files.Source`."""

    in_order = False

    def __init__(self, folder: Path, rows: Any, column: str, split: str):
        self.path, self._split, self._column = str(folder), split, column
        self._rows = rows.select_columns([column]).with_format("arrow")

    def stamp(self) -> Iterable[Any]:
        infos = {path.name: path.stat() for path in sorted(Path(self.path).iterdir())}
        return [[name, x.st_size, x.st_mtime_ns, x.st_ctime_ns] for name, x in infos.items()]

    def find(self) -> Found:
        names = (f"{self._split} image {i}" for i in range(len(self._rows)))
        return Found([ImageFile(name) for name in names], {})

    def contents(self, names: list[str]) -> Iterator[tuple[str, bytes | OSError]]:
        index = [int(name.rpartition(" ")[2]) for name in names]
        try:
            values = self._rows[index].column(self._column).to_pylist()
        except Exception as error:  # from Arrow, which does not validate files when it opens them
            yield from ((name, OSError(None, one_line(error))) for name in names)
            return
        for name, value in zip(names, values, strict=True):
            content = value.get("bytes") if isinstance(value, dict) else value
            if isinstance(content, bytes):
                yield name, content
            else:  # a path or address in a data set is not followed
                reason = "only names a file" if value and value.get("path") else "is missing"
                yield name, OSError(None, f"the image itself {reason}")


def _kind(feature: Any) -> str:
    return type(feature).__name__


def _values(rows: Any, column: str, what: str) -> list[Any]:
    """Read a column of integers or text."""
    values = rows.select_columns([column]).with_format("arrow")[:].column(column).to_pylist()
    for i, value in enumerate(values):
        if not isinstance(value, int | str):
            raise UserError(f"{what} holds {str(value)[:60]} in row {i:,}, which names no class")
    return values
