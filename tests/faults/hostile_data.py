"""Malicious data sets and weights."""

import io
import json
import os
import shutil
import struct
import sys
import zipfile

import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.experiment.evaluation.weights import read_arrays

from . import hostile, inputs


def _edited(name, change):
    """An edit of a JSON file of a data set, by a function of what it holds."""

    def edit(folder):
        path = folder / name
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return edit


def _evil(features):
    features["featuresDict"]["features"]["image"]["pythonClassName"] = "evil.Y"
    return features


def _evil_inside(features):
    inner = {"pythonClassName": "evil.Y", "tensor": {"dtype": "int64", "shape": {}}}
    sequence = "tensorflow_datasets.core.features.sequence_feature.Sequence"
    outer = {"pythonClassName": sequence, "sequence": {"feature": inner, "length": "-1"}}
    features["featuresDict"]["features"]["more"] = outer
    return features


def _split(**changes):
    def change(info):
        return {**info, "splits": [{**info["splits"][0], **changes}]}

    return change


_EVIL = {"pythonClassName": "evil.Y", "featuresDict": {"features": {}}}
_INFO = "dataset_info.json"
DATA = {
    "a class of the stranger's": _edited("features.json", _evil),
    "one within": _edited("features.json", _evil_inside),
    "one as it used to be written": _edited(
        "features.json", lambda _: {"type": "evil.Y", "content": {}}
    ),
    "one at the top": _edited("features.json", lambda _: _EVIL),
    "one in the other file": _edited(_INFO, lambda info: {**info, "features": _EVIL}),
    "a name that climbs": _edited(_INFO, lambda info: {**info, "name": "../../x"}),
    "a template that climbs": _edited(_INFO, _split(filepathTemplate="../{SPLIT}")),
    "a template that swells": _edited(_INFO, _split(filepathTemplate="{SPLIT:>4000000000}")),
    "the same by its other name": _edited(_INFO, _split(filepath_template="{SPLIT:>4000000000}")),
    "a million shards": _edited(_INFO, _split(shardLengths=["1"] * 10**6)),
    "a hundred thousand shards": _edited(_INFO, _split(shardLengths=["1"] * 10**5)),
    "more examples than bytes": _edited(_INFO, _split(shardLengths=["1000000000"])),
    "more examples than there are": _edited(_INFO, _split(shardLengths=[str(2**62)])),
    "examples below none": _edited(_INFO, _split(shardLengths=["-1"])),
    "another format": _edited(_INFO, lambda info: {**info, "fileFormat": "parquet"}),
    "deep metadata": lambda folder: hostile.nested(folder / "features.json"),
    "endless metadata": lambda folder: hostile.huge(folder / _INFO),
    "a pipe for metadata": lambda folder: hostile.REPLACED["a pipe"](
        folder / "features.json", None
    ),
    "a device for metadata": lambda folder: hostile.REPLACED["a device"](folder / _INFO, None),
    "a pipe for records": lambda folder: hostile.REPLACED["a pipe"](
        next(folder.glob("*.array_record*")), None
    ),
    "a device for records": lambda folder: hostile.REPLACED["a device"](
        next(folder.glob("*.array_record*")), None
    ),
}


def opened(how, data, outside):
    """What is wrong with training on such a data set; `evil.py` beside it says if it ran."""
    DATA[how](data / "strange" / "1.0.0")
    (data / "evil.py").write_text(f"open({str(outside.folder / 'ran')!r}, 'w').close()")
    sys.path.insert(0, str(data))
    try:
        status, said, wrong = hostile.attacked("train", inputs.reading(data, data.parent / "run"))
    finally:
        sys.path.remove(str(data))
        sys.modules.pop("evil", None)  # or the next one would not run it
    told = status == 2 and said.count("\n") == 1
    return wrong + ([] if told else [f"{status}: {said}"]) + ["ran"] * outside.touched()


def _npz(path, data, claimed):
    header = io.BytesIO()
    told = {"descr": "<f4", "fortran_order": False, "shape": (claimed,)}
    np.lib.format.write_array_header_1_0(header, told)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", header.getvalue() + data)


def _packed(path):
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(2**8):
            file.write(bytes(2**20))


def _entries(path):
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(20_000):
            archive.writestr(f"{i}.npy", b"")


def _headed(header, length=None):
    def write(path):
        path.write_bytes(struct.pack("<Q", length or len(header)) + header + bytes(64))

    return write


_CLAIM = {"a": {"dtype": "F32", "shape": [2**30], "data_offsets": [0, 2**32]}}
WEIGHTS = {
    "claims.npz": lambda path: _npz(path, bytes(64), 2**30),
    "negative.npz": lambda path: _npz(path, bytes(64), -16),
    "packed.npz": _packed,
    "entries.npz": _entries,
    "huge.npz": hostile.huge,
    "pipe.npz": os.mkfifo,
    "device.npz": lambda path: path.symlink_to("/dev/zero"),
    "claims.safetensors": _headed(json.dumps(_CLAIM).encode()),
    "length.safetensors": _headed(b"{}", 2**40),
    "deep.safetensors": _headed(b"[" * 10**5),
    "list.safetensors": _headed(b"[]"),
    "huge.safetensors": hostile.huge,
    "pipe.safetensors": os.mkfifo,
}


def weighed(name, folder):
    """What is wrong with reading such a file of weights."""
    WEIGHTS[name](folder / name)
    before = hostile.peak(reset=True)
    try:
        read_arrays(folder / name)
        wrong = ["it was read"]
    except UserError as error:
        wrong = ["more than a line"] * ("\n" in str(error))
    return wrong + ["memory"] * (hostile.peak() - before > hostile.MEGABYTES)


def groups(folder):
    """All that is hostile: its name, its variants, and a function `(variant, place)` for one."""
    workdir = hostile.pristine(folder / "pristine")
    inputs.prepared(folder / "prepared", inputs.GOOD)

    def on_workdir(rows, check):
        def trial(variant, place):
            shutil.copytree(workdir, place / "run")
            return check(*rows[variant], place / "run", _outside(place))

        return rows, trial

    def on_data(variant, place):
        shutil.copytree(folder / "prepared", place / "data")
        return opened(variant, place / "data", _outside(place))

    yield "links and pipes", *on_workdir(hostile.REFUSED, hostile.refused)
    yield "foretold names", *on_workdir({"links": ()}, hostile.led_astray)
    yield "contents", *on_workdir(hostile.CONTENTS, hostile.reported)
    yield "checkpoints", *on_workdir(hostile.CHECKPOINTS, hostile.restored)
    yield "configs", *on_workdir(hostile.CONFIGS, hostile.asked)
    yield "data sets", DATA, on_data
    yield "weights", WEIGHTS, weighed


def _outside(place):
    (place / "outside").mkdir()
    return hostile.Outside(place / "outside")
