"""Data sets that TFDS has prepared, opened without trust in what they say of themselves.

TFDS imports the module of every class that their metadata name, follows their paths
and formats names by their templates. So their JSON is read here, and TFDS is told
nothing of it but what is needed and was checked.
"""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any

from wgan_jax.errors import UserError
from wgan_jax.files import read_file

_NAME = re.compile(r"[A-Za-z]\w*(/\w[\w+.-]*)?(:(\d+|\*)(\.(\d+|\*)){2})?", re.ASCII)
_PLAIN = re.compile(r"\w[\w+.-]*", re.ASCII)
_TEMPLATE = re.compile(
    r"([\w.-]|\{(DATASET|SPLIT|FILEFORMAT|SHARD_INDEX|NUM_SHARDS|SHARD_X_OF_Y)\})*", re.ASCII
)
_FEATURES = "tensorflow_datasets.core.features."
_IMAGES = {f"{_FEATURES}image_feature.Image", f"{_FEATURES}labeled_image.LabeledImage"}
_LABELS = {f"{_FEATURES}{name}" for name in ("class_label_feature.ClassLabel", "scalar.Scalar")}
_LABELS |= {f"{_FEATURES}tensor_feature.Tensor", f"{_FEATURES}feature.Tensor"}
_LARGEST_JSON, _MOST_SHARDS, _MOST_EXAMPLES = 2**22, 2**16, 2**48


def require_name(name: str) -> None:
    """Raise ValueError unless it names a data set: no path, no address."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"dataset.name takes NAME, NAME/CONFIG or NAME/CONFIG:VERSION of TFDS, got {name!r}"
        )


def open_builder(name: str, data_dir: str | None) -> Any:
    """TFDS's builder of a prepared data set, whose features are `image` and perhaps `label`.

    Raises:
      FileNotFoundError: it is not prepared.
      UserError: its metadata are damaged, or ask for what a data set of images has no need of.
    """
    from tensorflow_datasets.core import dataset_info, read_only_builder

    folder = _folder(name, data_dir)
    try:
        _require_known_classes(_json(folder / "dataset_info.json").get("features", {}))
        info = dataset_info.read_proto_from_builder_dir(folder)
        _check(info)
        features = _json(folder / "features.json")
        _require_known_classes(features)
        # TFDS reads features.json itself only where it is told of none.
        info.features.CopyFrom(_needed(name, features))
        return read_only_builder.builder_from_metadata(folder, info)
    except UserError:
        raise
    except Exception as error:  # of its parsers, and what damaged JSON makes of ours
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
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


def _folder(name: str, data_dir: str | None) -> Path:
    """Where a data set is: of its configs the default or only one, of its versions the newest."""
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
        name = _json(told).get("default_config_name")
        if isinstance(name, str) and _PLAIN.fullmatch(name):
            return name
    configs = [p.name for p in root.iterdir() if p.is_dir() and _PLAIN.fullmatch(p.name)]
    if len(configs) != 1:
        raise UserError(f"{root.name} has the configs {', '.join(sorted(configs))}: name one")
    return configs[0]


def _json(path: Path) -> dict[str, Any]:
    found = json.loads(read_file(path, _LARGEST_JSON, follow=True))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no object")
    return found


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


def _needed(name: str, features: dict[str, Any]) -> Any:
    """`image` and `label` of TFDS's own making, where they are what these names promise."""
    import numpy as np
    import tensorflow_datasets as tfds

    found = features["featuresDict"]["features"]
    classes = {key: feature.get("pythonClassName") for key, feature in found.items()}
    if classes.get("image") not in _IMAGES:
        raise UserError(f"{name} has the features {sorted(classes)}, but no image among them")
    needed: dict[str, Any] = {"image": tfds.features.Image(shape=(None, None, None))}
    if classes.get("label") in _LABELS:
        needed["label"] = tfds.features.Scalar(np.int64)
    return tfds.features.FeaturesDict(needed).to_proto()
