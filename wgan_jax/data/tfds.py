"""Data sets that TFDS has prepared, opened without trust in what they say of themselves.

TFDS imports the module of every class that their metadata name, follows their paths
and formats names by their templates. So their JSON is read here, and TFDS is told
nothing of it but what is needed and was checked.
"""

from __future__ import annotations

import contextlib
import re
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from wgan_jax.errors import UserError, one_line
from wgan_jax.files import read_file, read_json_object

_NAME = re.compile(r"[A-Za-z]\w*(/\w[\w+.-]*)?(:(\d+|\*)(\.(\d+|\*)){2})?", re.ASCII)
_PLAIN = re.compile(r"\w[\w+.-]*", re.ASCII)
_TEMPLATE = re.compile(
    r"([\w.-]|\{(DATASET|SPLIT|FILEFORMAT|SHARD_INDEX|NUM_SHARDS|SHARD_X_OF_Y)\})*", re.ASCII
)
_FEATURES = "tensorflow_datasets.core.features."
_IMAGES = {f"{_FEATURES}image_feature.Image", f"{_FEATURES}labeled_image.LabeledImage"}
_CLASSES = f"{_FEATURES}class_label_feature.ClassLabel"
_NUMBERS = {f"{_FEATURES}{name}" for name in ("scalar.Scalar", "tensor_feature.Tensor")}
_NUMBERS.add(f"{_FEATURES}feature.Tensor")
_DTYPES = {"bool", "float32", "float64"}
_DTYPES |= {f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}
_MOST_CLASSES = 2**16
_LARGEST_JSON, _MOST_SHARDS, _MOST_EXAMPLES = 2**22, 2**16, 2**48


def require_name(name: str) -> None:
    """Raise ValueError unless it names a data set: no path, no address."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"dataset.name takes NAME, NAME/CONFIG or NAME/CONFIG:VERSION of TFDS, got {name!r}"
        )


class Scalar(NamedTuple):
    """A number of each example, as the metadata of a data set tell of it.

    Attributes:
      name: of the feature, with those that it is nested in: attributes/Smiling.
      dtype: of its values.
      num_classes: of a feature of classes; 0 of others.
      class_names: of the classes 0, 1, ..., where they are told.
    """

    name: str
    dtype: str
    num_classes: int = 0
    class_names: tuple[str, ...] = ()


def read_builder(name: str, folder: Path, scalars: Sequence[Scalar], *, images: bool) -> Any:
    """TFDS's builder of a prepared data set, whose features are images and `scalars`.

    Raises:
      UserError: its metadata are damaged, or ask for what a data set of images has no need of.
    """
    from tensorflow_datasets.core import dataset_info, read_only_builder

    with _damage_told(name, folder):
        _require_known_classes(
            read_json_object(folder / "dataset_info.json", _LARGEST_JSON).get("features", {})
        )
        info = dataset_info.read_proto_from_builder_dir(folder)
        _check(info)
        # TFDS reads features.json itself only where it is told of none.
        info.features.CopyFrom(_needed(name, _features(folder), scalars, images=images))
        return read_only_builder.builder_from_metadata(folder, info)


def read_scalars(name: str, folder: Path) -> dict[str, Scalar]:
    """The scalars that a prepared data set has for each example.

    Raises:
      UserError: its metadata are damaged.
    """
    with _damage_told(name, folder):
        found = _scalars(_features(folder), "")
        for scalar in found.values():
            if scalar.num_classes > _MOST_CLASSES:
                raise ValueError(f"{scalar.name} has {scalar.num_classes:,} classes")
        return {
            key: scalar._replace(class_names=_class_names(folder, scalar))
            for key, scalar in found.items()
        }


@contextlib.contextmanager
def _damage_told(name: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of TFDS's parsers, and what damaged JSON makes of ours
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"{name} is damaged, in {folder} ({reason})") from error


def require_files(builder: Any, split: str) -> None:
    """Check that the files of a split are there, and large enough for what they should hold.

    Raises:
      UserError: they are not.
    """
    for part in builder.info.splits[split].file_instructions:
        path = Path(part.filename)
        try:
            info = path.stat()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(info.st_mode) or info.st_size < part.examples_in_shard:
            raise UserError(f"{path} is no file of {part.examples_in_shard:,} examples")


def folder_of(name: str, data_dir: str | None) -> Path:
    """Where a data set is: of its configs the default or only one, of its versions the newest.

    Raises:
      FileNotFoundError: it is not prepared.
      UserError: it has several configs, and none is named.
    """
    from tensorflow_datasets.core import constants, naming
    from tensorflow_datasets.core.utils import version as versions

    require_name(name)
    parsed, asked = naming.parse_builder_name_kwargs(name)
    root = Path(data_dir or constants.DATA_DIR).expanduser() / parsed.name
    if "config" not in asked and not versions.list_all_versions(root):
        asked["config"] = _only_config(root)
    folder = root / str(asked.get("config", ""))
    wanted = asked.get("version")
    for version in reversed(versions.list_all_versions(folder)):
        if wanted is None or version.match(wanted):
            return folder / str(version)
    raise FileNotFoundError(folder)


def _only_config(root: Path) -> str:
    told = root / ".config" / "metadata.json"
    if told.exists():
        name = read_json_object(told, _LARGEST_JSON).get("default_config_name")
        if isinstance(name, str) and _PLAIN.fullmatch(name):
            return name
    configs = [p.name for p in root.iterdir() if p.is_dir() and _PLAIN.fullmatch(p.name)]
    if len(configs) != 1:
        raise UserError(f"{root.name} has the configs {', '.join(sorted(configs))}: name one")
    return configs[0]


def _check(info: Any) -> None:
    """Raise ValueError where names lead out of the folder, or claims are out of all measure."""
    for name in (info.name, *(split.name for split in info.splits)):
        if not _PLAIN.fullmatch(name):
            raise ValueError(f"{name!r} is no name")
    for split in info.splits:
        if not _TEMPLATE.fullmatch(split.filepath_template):
            raise ValueError(f"{split.filepath_template!r} names files of no data set")
        if not all(0 <= length < _MOST_EXAMPLES for length in split.shard_lengths):
            raise ValueError(f"{split.name} has a shard of impossible length")
    if (shards := sum(len(split.shard_lengths) for split in info.splits)) > _MOST_SHARDS:
        raise ValueError(f"it has {shards:,} shards")


def _require_known_classes(features: Any) -> None:
    """Raise UserError where features, however nested, are of a class that is not TFDS's own.

    Those that are not needed are not even read by TFDS; this is to tell what is foul.
    """
    left = [features]
    while left:
        node = left.pop()
        children = node.values() if isinstance(node, dict) else node
        left += [child for child in children if isinstance(child, dict | list)]
        for key in ("pythonClassName", "python_class_name", "type"):
            name = node.get(key) if isinstance(node, dict) else None
            if isinstance(name, str) and not name.startswith(_FEATURES):
                raise UserError(f"a feature is of the class {name!r}, which is none of TFDS's own")


def _features(folder: Path) -> dict[str, Any]:
    features = read_json_object(folder / "features.json", _LARGEST_JSON)
    _require_known_classes(features)
    return features["featuresDict"]["features"]


def _scalars(features: dict[str, Any], prefix: str) -> dict[str, Scalar]:
    """Scalars by name, those of nested features included."""
    found = dict[str, Scalar]()
    for key, feature in features.items():
        name, kind = prefix + key, feature.get("pythonClassName")
        if kind == f"{_FEATURES}features_dict.FeaturesDict":
            found |= _scalars(feature["featuresDict"]["features"], f"{name}/")
        elif kind == _CLASSES:
            classes = int(feature["classLabel"].get("numClasses", 0))
            found[name] = Scalar(name, "int64", classes)
        elif kind in _NUMBERS:
            told = feature.get("tensor", {})
            dtype = told.get("dtype", "int64")
            if dtype in _DTYPES and not told.get("shape"):
                found[name] = Scalar(name, dtype)
    return found


def _class_names(folder: Path, scalar: Scalar) -> tuple[str, ...]:
    """The names beside the metadata, where they are as many as the classes."""
    *parents, key = scalar.name.split("/")
    path = folder / f"{'-'.join([*parents, key])}.labels.txt"
    if not scalar.num_classes or not path.exists():
        return ()
    text = read_file(path, _LARGEST_JSON, follow=True).decode("utf-8")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    return names if len(set(names)) == scalar.num_classes == len(names) else ()


def _needed(name: str, features: dict[str, Any], scalars: Sequence[Scalar], *, images: bool) -> Any:
    """`image` and scalars of TFDS's own making, where they are what these names promise."""
    import numpy as np
    import tensorflow_datasets as tfds

    classes = {key: feature.get("pythonClassName") for key, feature in features.items()}
    if classes.get("image") not in _IMAGES:
        raise UserError(f"{name} has the features {sorted(classes)}, but no image among them")
    needed: dict[str, Any] = {}
    if images:
        needed["image"] = tfds.features.Image(shape=(None, None, None))
    for scalar in scalars:
        *parents, key = scalar.name.split("/")
        place = needed
        for parent in parents:
            place = place.setdefault(parent, {})
        place[key] = tfds.features.Scalar(np.dtype(scalar.dtype))
    return tfds.features.FeaturesDict(needed).to_proto()
