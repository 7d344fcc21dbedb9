"""Data sets that TFDS has prepared, opened without trusting their metadata.

TFDS imports the module of every class that the metadata name, follows their paths and formats
names by their templates. So the JSON is read here, and only what is needed and has been checked
is passed to TFDS.
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
    """Raise ValueError unless `name` is the name of a data set, not a path or an address."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"dataset.name takes NAME, NAME/CONFIG or NAME/CONFIG:VERSION of TFDS, got {name!r}"
        )


class Scalar(NamedTuple):
    """A scalar feature of the examples, as described by the metadata of a data set.

    Attributes:
      name: of the feature, including the features that it is nested in: attributes/Smiling.
      dtype: of its values.
      num_classes: of a feature of classes; 0 for others.
      class_names: of the classes 0, 1, ..., if they are known.
    """

    name: str
    dtype: str
    num_classes: int = 0
    class_names: tuple[str, ...] = ()


def read_builder(name: str, folder: Path, scalars: Sequence[Scalar], *, images: bool) -> Any:
    """Return TFDS's builder of a prepared data set, reduced to images and `scalars`.

    Raises:
      UserError: its metadata are damaged, or ask for more than a data set of images needs.
    """
    from tensorflow_datasets.core import dataset_info, read_only_builder

    with _report_damage(name, folder):
        _require_known_classes(
            read_json_object(folder / "dataset_info.json", _LARGEST_JSON).get("features", {})
        )
        info = dataset_info.read_proto_from_builder_dir(folder)
        _check(info)
        # TFDS reads features.json itself only if the info has no features.
        info.features.CopyFrom(_needed(name, _features(folder), scalars, images=images))
        return read_only_builder.builder_from_metadata(folder, info)


def read_scalars(name: str, folder: Path) -> dict[str, Scalar]:
    """Return the scalars that a prepared data set has for each example, by name.

    Raises:
      UserError: its metadata are damaged.
    """
    with _report_damage(name, folder):
        scalars = _scalars(_features(folder), "")
        for scalar in scalars.values():
            if scalar.num_classes > _MOST_CLASSES:
                raise ValueError(f"{scalar.name} has {scalar.num_classes:,} classes")
        return {
            key: scalar._replace(class_names=_class_names(folder, scalar))
            for key, scalar in scalars.items()
        }


@contextlib.contextmanager
def _report_damage(name: str, folder: Path) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # from TFDS's parsers, or from ours on damaged JSON
        reason = getattr(error, "strerror", None) or one_line(error)
        raise UserError(f"{name} is damaged, in {folder} ({reason})") from error


def require_files(builder: Any, split: str) -> None:
    """Check that the files of a split exist and are large enough for their examples.

    Raises:
      UserError: a file is missing or too small.
    """
    for part in builder.info.splits[split].file_instructions:
        path = Path(part.filename)
        try:
            info = path.stat()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error
        if not stat.S_ISREG(info.st_mode) or info.st_size < part.examples_in_shard:
            raise UserError(f"{path} is not a file of {part.examples_in_shard:,} examples")


def folder_of(name: str, data_dir: str | None) -> Path:
    """Return the folder of a data set: by default its default or only config, newest version.

    Raises:
      FileNotFoundError: it is not prepared.
      UserError: it has several configs and none is named.
    """
    from tensorflow_datasets.core import constants, naming
    from tensorflow_datasets.core.utils import version as versions

    require_name(name)
    parsed, requested = naming.parse_builder_name_kwargs(name)
    root = Path(data_dir or constants.DATA_DIR).expanduser() / parsed.name
    if "config" not in requested and not versions.list_all_versions(root):
        requested["config"] = _only_config(root)
    folder = root / str(requested.get("config", ""))
    wanted = requested.get("version")
    for version in reversed(versions.list_all_versions(folder)):
        if wanted is None or version.match(wanted):
            return folder / str(version)
    raise FileNotFoundError(folder)


def _only_config(root: Path) -> str:
    metadata = root / ".config" / "metadata.json"
    if metadata.exists():
        name = read_json_object(metadata, _LARGEST_JSON).get("default_config_name")
        if isinstance(name, str) and _PLAIN.fullmatch(name):
            return name
    configs = [p.name for p in root.iterdir() if p.is_dir() and _PLAIN.fullmatch(p.name)]
    if len(configs) != 1:
        raise UserError(f"{root.name} has the configs {', '.join(sorted(configs))}: name one")
    return configs[0]


def _check(info: Any) -> None:
    """Raise ValueError if names lead out of the folder or sizes are implausible."""
    for name in (info.name, *(split.name for split in info.splits)):
        if not _PLAIN.fullmatch(name):
            raise ValueError(f"{name!r} is not a name")
    for split in info.splits:
        if not _TEMPLATE.fullmatch(split.filepath_template):
            raise ValueError(f"{split.filepath_template!r} is not a template of data set files")
        if not all(0 <= length < _MOST_EXAMPLES for length in split.shard_lengths):
            raise ValueError(f"{split.name} has a shard of impossible length")
    if (shards := sum(len(split.shard_lengths) for split in info.splits)) > _MOST_SHARDS:
        raise ValueError(f"it has {shards:,} shards")


def _require_known_classes(features: Any) -> None:
    """Raise UserError if features, however nested, have a class that is not TFDS's own.

    TFDS does not even read those that are not needed; this check reports tampering.
    """
    nodes = [features]
    while nodes:
        node = nodes.pop()
        children = node.values() if isinstance(node, dict) else node
        nodes += [child for child in children if isinstance(child, dict | list)]
        for key in ("pythonClassName", "python_class_name", "type"):
            name = node.get(key) if isinstance(node, dict) else None
            if isinstance(name, str) and not name.startswith(_FEATURES):
                raise UserError(f"a feature has the class {name!r}, which is not one of TFDS's own")


def _features(folder: Path) -> dict[str, Any]:
    features = read_json_object(folder / "features.json", _LARGEST_JSON)
    _require_known_classes(features)
    return features["featuresDict"]["features"]


def _scalars(features: dict[str, Any], prefix: str) -> dict[str, Scalar]:
    """Return scalars by name, including those of nested features."""
    scalars = dict[str, Scalar]()
    for key, feature in features.items():
        name, kind = prefix + key, feature.get("pythonClassName")
        if kind == f"{_FEATURES}features_dict.FeaturesDict":
            scalars |= _scalars(feature["featuresDict"]["features"], f"{name}/")
        elif kind == _CLASSES:
            classes = int(feature["classLabel"].get("numClasses", 0))
            scalars[name] = Scalar(name, "int64", classes)
        elif kind in _NUMBERS:
            tensor = feature.get("tensor", {})
            dtype = tensor.get("dtype", "int64")
            if dtype in _DTYPES and not tensor.get("shape"):
                scalars[name] = Scalar(name, dtype)
    return scalars


def _class_names(folder: Path, scalar: Scalar) -> tuple[str, ...]:
    """Read the class names next to the metadata, if there are as many as classes."""
    *parents, key = scalar.name.split("/")
    path = folder / f"{'-'.join([*parents, key])}.labels.txt"
    if not scalar.num_classes or not path.exists():
        return ()
    text = read_file(path, _LARGEST_JSON, follow=True).decode("utf-8")
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    return names if len(set(names)) == scalar.num_classes == len(names) else ()


def _needed(name: str, features: dict[str, Any], scalars: Sequence[Scalar], *, images: bool) -> Any:
    """Build TFDS features for `image` and `scalars`, instead of those that the metadata give."""
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
