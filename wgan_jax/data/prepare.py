"""Preparation of TFDS image data sets as ArrayRecord files, without TensorFlow."""

from __future__ import annotations

import gzip
import io
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np

from wgan_jax.data.remote import expand_user
from wgan_jax.errors import UserError

PREPARABLE = ("mnist", "fashion_mnist", "cifar10")
_IDX_IMAGE_HEADER, _IDX_LABEL_HEADER = 16, 8


def prepare(name: str, *, data_dir: str | None = None, manual_dir: str | None = None) -> Path:
    """Write a data set to the data folder of TFDS, unless it is already there.

    Args:
      name: one of `PREPARABLE`.
      data_dir: data folder of TFDS; its default (~/tensorflow_datasets) if None.
      manual_dir: folder with the official files under their official names. Their SHA-256 is
        checked, and nothing is downloaded.

    Returns:
      The folder of the prepared data set.

    Raises:
      UserError: the name is unknown, a file is missing or not the official one, or a download
        failed.
    """
    if name not in PREPARABLE:
        raise UserError(
            f"cannot prepare {name!r}: choose from {', '.join(PREPARABLE)}; prepare others with "
            f"TFDS itself (tfds build {name} --file_format=array_record)"
        )
    manual_dir, data_dir = (d and expand_user(d) for d in (manual_dir, data_dir))
    if manual_dir is not None and not Path(manual_dir).is_dir():
        raise UserError(f"--manual-dir {manual_dir} is not a folder")
    import tensorflow_datasets as tfds

    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    builder = _builder(name, data_dir)
    config = tfds.download.DownloadConfig(
        manual_dir=manual_dir, verify_ssl=True, num_shards=1, try_download_gcs=False
    )
    if manual_dir is not None:
        _require_official_files(builder, Path(manual_dir))
    try:
        builder.download_and_prepare(download_config=config, file_format="array_record")
    except Exception as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{name} was not prepared: {reason[0]} (if you have the official files, "
            f"use --manual-dir DIR)"
        ) from error
    return Path(builder.data_path)


def _builder(name: str, data_dir: str | None) -> Any:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.image_classification import cifar, mnist

    with tfds.core.registered.skip_registration():
        stock, reader = {
            "mnist": (mnist.MNIST, _IdxBuilder),
            "fashion_mnist": (mnist.FashionMNIST, _IdxBuilder),
            "cifar10": (cifar.Cifar10, _CifarBuilder),
        }[name]
        # TFDS names a data set, its folder and its checksums after the class.
        cls: Any = type(stock.__name__, (reader, stock), {"__module__": stock.__module__})
        cls.name = stock.name
        return cls(data_dir=data_dir, file_format="array_record")


class _IdxBuilder:
    """Reader of gzipped IDX files that uses the standard library instead of TensorFlow."""

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        def files(prefix: str) -> dict[str, str]:
            return {
                "images": f"{self.URL}{prefix}-images-idx3-ubyte.gz",  # type: ignore[attr-defined]
                "labels": f"{self.URL}{prefix}-labels-idx1-ubyte.gz",  # type: ignore[attr-defined]
            }

        paths = dl_manager.download({"train": files("train"), "test": files("t10k")})
        return {split: self._generate_examples(**paths[split]) for split in ("train", "test")}

    def _generate_examples(self, images: Any, labels: Any) -> Any:
        numbers = np.frombuffer(_gunzip(labels), np.uint8, offset=_IDX_LABEL_HEADER)
        pixels = np.frombuffer(_gunzip(images), np.uint8, offset=_IDX_IMAGE_HEADER)
        pixels = pixels.reshape(len(numbers), 28, 28)
        for index, (image, label) in enumerate(zip(pixels, numbers, strict=True)):
            yield index, {"image": _png(image), "label": int(label)}


class _CifarBuilder:
    """Reader of CIFAR-10's tar in memory: without extraction, member paths are harmless."""

    def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
        info = self._cifar_info  # type: ignore[attr-defined]
        archive = dl_manager.download(info.url)
        names = _member(archive, f"{info.prefix}{info.label_files[0]}").decode().split()
        self.info.features["label"].names = names  # type: ignore[attr-defined]
        parts = {"train": info.train_files, "test": info.test_files}
        return {
            split: self._generate_examples(archive, split, [info.prefix + file for file in files])
            for split, files in parts.items()
        }

    def _generate_examples(self, archive: Any, split: str, members: list[str]) -> Any:
        records = b"".join(_member(archive, member) for member in members)
        rows = np.frombuffer(records, np.uint8).reshape(-1, 1 + 3 * 32 * 32)
        for index, row in enumerate(rows):
            image = row[1:].reshape(3, 32, 32).transpose(1, 2, 0)
            name = f"{split}_{index:05d}"
            yield index, {"id": name, "image": _png(image), "label": int(row[0])}


def _member(archive: Any, name: str) -> bytes:
    with tarfile.open(archive) as tar:
        file = tar.extractfile(name) if tar.getmember(name).isreg() else None
        if file is None:
            raise ValueError(f"{name} is no plain file in the archive")
        return file.read()


def _gunzip(path: Any) -> bytes:
    with gzip.open(path) as file:
        return file.read()


def _png(image: np.ndarray) -> io.BytesIO:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(file, "png")
    file.seek(0)
    return file


def _require_official_files(builder: Any, folder: Path) -> None:
    names = [info.filename for info in builder.url_infos.values()]
    missing = [name for name in names if not (folder / name).is_file()]
    if missing:
        raise UserError(f"{folder} lacks the official {', '.join(missing)}")
