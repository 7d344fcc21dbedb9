"""Data set of user-supplied images in a folder, zip or tar."""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter

import numpy as np

from wgan_jax.data.dataset import HELD_OUT, TRAIN
from wgan_jax.data.decoded import Decoded
from wgan_jax.data.decoded_images import DecodedImages, Parts, too_few
from wgan_jax.data.image_files import Directory, TarArchive, ZipArchive, open_source
from wgan_jax.data.remote import expand_user, require_local
from wgan_jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Folder(DecodedImages):
    """Images of any size and format in a folder and its subfolders, or in a zip or tar.

    They are decoded once into the cache folder, and kept on the device if they fit, else streamed.
    If the folder contains `train` and `test` (or `validation`), that split is used: the
    other part is held out.

    Example:
      >>> Folder(path="pictures", image_size=(48, 64)).struct(8).shape
      (8, 48, 64, 3)
    """

    path: str = ""
    """Folder, zip or tar of images."""
    labels: bool = False
    """Read pairs of image and label; the classes are the top-level subfolders, sorted by name."""

    def num_classes(self) -> int:
        return len(self.summary()[1]) if self.labels else 0

    def summary(self) -> tuple[int | None, tuple[str, ...]]:
        """Count files to train on and classes by file name, without decoding."""
        with contextlib.closing(self._source()) as source:
            listing = source.find()
            _listed[:] = [source]
        names = [file.name for file in listing.files]
        if len(names) < 2:
            raise too_few(self.path, names, sum(listing.passed_over.values()))
        count = sum(_top(name) == TRAIN for name in names) if _parts(names) else len(names)
        if not self.labels:
            return count, ()
        classes = class_names(names, self.path)
        counts = Counter(_class(name) for name in _relative(names))
        _require_two(classes, np.array([counts[name] for name in classes]), self.path)
        return count, classes

    def read(self) -> Parts:
        with contextlib.closing(self._source()) as source:
            _listed.clear()  # a later read lists the files again
            return divide(self.decoded(source), self)

    def _source(self) -> Directory | ZipArchive | TarArchive:
        for source in _listed:
            if source.path == expand_user(self.path) and source.is_current():
                return source
        if not self.path:
            raise UserError("--dataset folder needs a --dataset.path FOLDER")
        require_local(self.path)
        return open_source(expand_user(self.path))


# The source that `summary` listed last: listing is slow, and the same source is read next.
_listed: list[Directory | ZipArchive | TarArchive] = []


def divide(images: Decoded, config: Folder) -> Parts:
    """Split images into training and held-out ones, and label them by class folder.

    Raises:
      UserError: there are too few images, or some are in no class folder.
    """
    if (other := _other_part(images.names)) is not None:
        part = np.array([name.partition("/")[0].lower() for name in images.names])
        held_out, train = part == other, part == TRAIN
    else:
        held_out = images.hashes < np.uint64(config.held_out * 2**64)
        train = ~held_out
    if not config.labels:
        return Parts.of(images, config, train, held_out)
    names = class_names(images.names, config.path)
    number = {name: i for i, name in enumerate(names)}
    labels = np.array([number.get(_class(name), 0) for name in _relative(images.names)])
    parts = Parts.of(images, config, train, held_out, labels, names)
    used = labels[[*parts.train, *parts.held_out]]
    _require_two(names, np.bincount(used, minlength=len(names)), config.path)
    trained_on = np.bincount(labels[parts.train], minlength=len(names))
    if not trained_on.all():
        raise UserError(
            f"all images of the class {names[int(trained_on.argmin())]} of {config.path} are held "
            f"out: hold out fewer, or remove the class"
        )
    return parts


def _require_two(classes: tuple[str, ...], counts: np.ndarray, where: str) -> None:
    if counts.min() < 2:
        few = classes[int(counts.argmin())]
        raise UserError(
            f"the class {few} of {where} has {'one image' if counts.min() else 'no image'} "
            f"that can be read, but a class needs at least two: add images, or remove its folder"
        )


def class_names(names: list[str], where: str) -> tuple[str, ...]:
    """Return the class folders of images, sorted.

    Raises:
      UserError: some images are in no class folder.
    """
    relative = _relative(names)
    loose = [name for name in relative if "/" not in name]
    if loose:
        images_are = "one image is" if len(loose) == 1 else f"{len(loose):,} images are"
        raise UserError(
            f"{images_are} in no class folder of {where}, such as {loose[0]}: put each class into "
            f"its own folder, or train without --dataset.labels"
        )
    return tuple(sorted({_class(name) for name in relative}))


def _parts(names: list[str]) -> set[str]:
    """Return the top-level folders if they are `train` and held-out splits, else an empty set.

    Raises:
      UserError: there are other images beside `train` and held-out splits.
    """
    tops = set(map(_top, names))
    others = tops - {TRAIN, *HELD_OUT}
    if others and TRAIN in tops and tops & {*HELD_OUT}:
        name = next(name for name in names if _top(name) in others)
        raise UserError(
            f"{name} is beside the folders {', '.join(sorted(tops - others))}, which are parts of "
            f"a split: move it into one of them, or out of the folder"
        )
    return tops if TRAIN in tops and not others else set()


def _top(name: str) -> str:
    return name.partition("/")[0].lower() if "/" in name else ""


def _other_part(names: list[str]) -> str | None:
    """Return the folder next to `train` that is held out; None without."""
    return next((top for top in HELD_OUT if top in _parts(names)), None)


def _relative(names: list[str]) -> list[str]:
    """Strip a leading `train` or `test` from names."""
    return [name.partition("/")[2] for name in names] if _parts(names) else names


def _class(name: str) -> str:
    return name.partition("/")[0]
