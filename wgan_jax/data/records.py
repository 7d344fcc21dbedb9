"""Records of data sets that TFDS has prepared, and their splits."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wgan_jax.data.prepare import PREPARABLE
from wgan_jax.data.remote import cached, expand_user, is_remote
from wgan_jax.data.tfds import Scalar, folder_of, read_builder, read_scalars, require_files
from wgan_jax.errors import UserError, one_line

# Splits to search for held-out examples, in this order.
_HELD_OUT = ("validation", "test", "train")


def other_split(name: str, split: str, data_dir: str | None) -> str | None:
    """Return a split without examples of `split`: another one, or the rest of a slice; or None.

    Raises:
      UserError: the data set is not prepared.
    """
    splits = open_builder(name, data_dir).info.splits
    known = {name for name, info in splits.items() if info.num_examples}
    named = {part.strip() for part in re.sub(r"\[[^]]*\]", "", split).split("+")}
    if not named <= known:  # `all`, or a form that is not parsed here
        return None
    other = next((name for name in _HELD_OUT if name in known - named), None)
    rest = re.fullmatch(r"(\w+)\[(:?)([^:\]]+)(:?)\]", split)
    if other is None and rest is not None and rest[2] != rest[4]:
        return f"{rest[1]}[{rest[4]}{rest[3]}{rest[2]}]"
    return other


def open_source(
    name: str,
    split: str,
    data_dir: str | None,
    scalars: Sequence[Scalar] = (),
    *,
    images: bool = True,
) -> Records:
    """Open a random-access source of records: an encoded `image`, and scalars by name.

    Nothing is downloaded.

    Raises:
      UserError: the data set is not prepared, has no such split, or has no images.
    """
    import tensorflow_datasets as tfds

    builder = open_builder(name, data_dir, scalars, images=images)
    form = builder.info.file_format.value
    if form != "array_record":
        raise UserError(
            f"{name} is stored as {form}, not as array_record; "
            f"run: {_how_to_prepare(name, data_dir)}"
        )
    decoders = {"image": tfds.decode.SkipDecoding()} if images else {}
    try:
        require_files(builder, split)
        source = builder.as_data_source(split=split, decoders=decoders)
    except UserError:
        raise
    except ValueError as error:
        splits = ", ".join(builder.info.splits)
        raise UserError(f"{name} has no split {split!r}; it has {splits}") from error
    except Exception as error:
        raise UserError(f"{name} is damaged ({one_line(error)})") from error
    if len(source) == 0:
        raise UserError(f"the split {split!r} of {name} is empty")
    return Records(name, source)


def open_builder(
    name: str, data_dir: str | None, scalars: Sequence[Scalar] = (), *, images: bool = True
) -> Any:
    """Return TFDS's builder of a prepared data set, reduced to images and `scalars`.

    Raises:
      UserError: it is not prepared, or damaged.
    """
    return read_builder(name, _folder(name, data_dir), scalars, images=images)


def scalars_of(name: str, data_dir: str | None) -> dict[str, Scalar]:
    """Return the numbers, flags and classes that a prepared data set has per example, by name.

    Raises:
      UserError: it is not prepared, or damaged.
    """
    return read_scalars(name, _folder(name, data_dir))


def _folder(name: str, data_dir: str | None) -> Path:
    """Return the folder of a prepared data set; the error shows how to prepare it."""
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR")
    if data_dir is not None:
        is_url = is_remote(data_dir)
        data_dir = (
            str(cached(data_dir, name.partition(":")[0])) if is_url else expand_user(data_dir)
        )
    try:
        return folder_of(name, data_dir)
    except UserError:
        raise
    except (OSError, ValueError) as error:
        raise UserError(
            f"{name} is not prepared; run: {_how_to_prepare(name, data_dir)}"
        ) from error


class Records:
    """A TFDS source that raises one-line errors."""

    def __init__(self, name: str, source: Any):
        self._name, self._source = name, source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]

    def __getitems__(self, index: Sequence[int]) -> list[dict[str, Any]]:
        try:
            return self._source.__getitems__(index)
        except Exception as error:
            raise UserError(f"{self._name} is damaged ({one_line(error)})") from error


def _how_to_prepare(name: str, data_dir: str | None) -> str:
    where = f" --data-dir {data_dir}" if data_dir else ""
    if name in PREPARABLE:
        return f"python -m wgan_jax prepare {name}{where}"
    where = where.replace("-dir", "_dir")
    return f"tfds build {name} --file_format=array_record{where} (needs TensorFlow)"
