"""Hugging Face data sets: images and classes by column, and every error in one line."""

import io
import json
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image
from saved_sets import COUNT, NAMES, SIDE, build, pixels

from wgan_jax.__main__ import main
from wgan_jax.cli.common import run_command
from wgan_jax.cli.train import train as train_command
from wgan_jax.data import HuggingFace
from wgan_jax.errors import UserError

datasets = pytest.importorskip("datasets", reason="datasets comes with the extra 'huggingface'")
pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """Two splits, one of them in several files."""
    datasets.disable_progress_bars()
    folder = tmp_path_factory.mktemp("pets")
    words = (datasets.Value("string"), [("tame", "wild")[i % 3 == 0] for i in range(COUNT)])
    train = build(range(COUNT), tame=words, weight=(datasets.Value("float32"), [0.5] * COUNT))
    test = build(range(100, 106), tame=(words[0], ["tame"] * 6))
    datasets.DatasetDict({"train": train, "test": test}).save_to_disk(
        folder / "in", num_shards={"train": 3, "test": 1}
    )
    return folder / "in"


def opened(path, **options):
    return HuggingFace(path=str(path), image_size=SIDE, **options).open()


def test_images_and_classes_are_found_by_their_types(pets):
    data = opened(pets, labels=True)
    images, labels = data.examples
    np.testing.assert_array_equal(images, np.stack([pixels(i) for i in range(COUNT)]))
    assert data.class_names == NAMES
    assert data.class_labels().tolist() == labels.tolist() == [i % 2 for i in range(COUNT)]
    test = data.held_out()
    np.testing.assert_array_equal(test.examples[0], np.stack([pixels(i) for i in range(100, 106)]))
    assert test.class_labels().tolist() == [0, 1] * 3
    assert HuggingFace(path=str(pets), labels=True).num_classes() == 3
    assert HuggingFace(path=str(pets), labels=True).summary() == (COUNT, NAMES)
    alone = opened(pets, split="test", image="picture")
    assert alone.size == 6
    assert alone.class_labels() is None


def test_classes_of_another_split_are_those_that_are_trained_on(pets, tmp_path):
    """Words are numbered by the split that is trained on, even if another split lacks some."""
    data = opened(pets, label="tame")
    assert data.class_names == ("tame", "wild")
    assert data.class_labels().tolist() == [int(i % 3 == 0) for i in range(COUNT)]
    assert data.held_out().class_labels().tolist() == [0] * 6
    tame = HuggingFace(path=str(pets), label="tame", split="test", image_size=SIDE)
    assert tame.num_classes() == 1
    shutil.copytree(pets, tmp_path / "in")
    (tmp_path / "in" / "train").rename(tmp_path / "in" / "validation")
    with pytest.raises(UserError, match="'wild' in 8 rows, which is none of the 1 classes"):
        opened(tmp_path / "in", label="tame", split="test").held_out()


def test_a_part_is_held_out_by_content(pets, tmp_path):
    data = opened(pets, labels=True, held_out=0.3)
    both = [data, data.held_out()]
    assert 0 < both[1].size < COUNT
    pairs = [zip(*part.examples, strict=True) for part in both]
    seen = {image.tobytes(): label for part in pairs for image, label in part}
    assert seen == {pixels(i).tobytes(): i % 2 for i in range(COUNT)}
    build(range(COUNT)[::-1]).save_to_disk(tmp_path / "other order")
    other = opened(tmp_path / "other order", held_out=0.3).held_out()
    assert {x.tobytes() for x in other.examples} == {x.tobytes() for x in both[1].examples[0]}


def test_a_data_set_without_splits_is_read_under_any_name(tmp_path):
    build(range(4)).save_to_disk(tmp_path / "in")
    for split in ("train", "all"):
        assert opened(tmp_path / "in", split=split).size == 4
    assert opened(tmp_path / "in").held_out() is None


def test_a_changed_data_set_is_read_anew(tmp_path):
    for first in (0, 50):
        shutil.rmtree(tmp_path / "in", ignore_errors=True)
        build(range(first, first + 4)).save_to_disk(tmp_path / "in")
        np.testing.assert_array_equal(opened(tmp_path / "in").examples[0], pixels(first))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"split": "tran"}, "no split 'tran': did you mean train?"),
        ({"split": "../train"}, "no split '../train': did you mean train?"),
        ({"split": "x"}, "it has test, train"),
        ({"image": "pictur"}, "--dataset.image names a column 'pictur'.*did you mean 'picture'"),
        ({"image": "kind"}, "'kind' of .* holds no images, but 'picture' does"),
        ({"label": "kin"}, "--dataset.label names a column 'kin'.*did you mean 'kind'"),
        ({"label": "weight"}, "'weight' of .* holds 0.5 in row 0, which names no class"),
        ({"label": "picture"}, "'picture' of .* in row 0, which names no class"),
        ({"path": ""}, "needs a --dataset.path"),
        ({"path": "nowhere"}, "there is no folder nowhere"),
        ({"path": "s3://bucket/set"}, "is an address"),
    ],
)
def test_what_is_not_there_is_told_with_what_is(options, told, pets):
    with pytest.raises(UserError, match=told):
        HuggingFace(**({"path": str(pets), "image_size": SIDE} | options)).open()


def test_a_missing_package_is_told_with_its_extra(pets, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs an extra; run: pip install .*\[huggingface\]"):
        opened(pets)


def test_what_holds_no_images_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="is not a folder that save_to_disk"):
        opened(tmp_path / "empty")
    datasets.Dataset.from_dict({"x": [1.0], "y": ["a"]}).save_to_disk(tmp_path / "rows")
    with pytest.raises(
        UserError, match=r"x \(Value\), y \(Value\): none of images.*--dataset table"
    ):
        opened(tmp_path / "rows")
    with pytest.raises(UserError, match="none of images"):  # as in a dry run
        HuggingFace(path=str(tmp_path / "rows")).summary()
    build(range(2)).select([]).save_to_disk(tmp_path / "none")
    with pytest.raises(UserError, match="none cannot be used: it is empty"):
        opened(tmp_path / "none")
    build(range(1)).save_to_disk(tmp_path / "one")
    with pytest.raises(UserError, match="holds one image, train image 0: training needs more"):
        opened(tmp_path / "one")
    two = build(range(4), other=(datasets.Image(), [None] * 4))
    two.save_to_disk(tmp_path / "two")
    with pytest.raises(UserError, match=r"name one of images in --dataset\.image"):
        opened(tmp_path / "two")
    with pytest.raises(
        UserError, match="train image 0 cannot be read: the image itself is missing"
    ):
        opened(tmp_path / "two", image="other")


def test_rows_without_a_label_are_refused_where_they_count(tmp_path):
    unknown = build(range(4)).map(lambda row, i: {"kind": -1 if i == 2 else 0}, with_indices=True)
    unknown.save_to_disk(tmp_path / "in")
    with pytest.raises(UserError, match=r"holds -1 in 1 rows.*\(-1 stands for no label\)"):
        opened(tmp_path / "in", labels=True)
    assert opened(tmp_path / "in").size == 4


def test_an_image_that_is_only_named_is_not_looked_for(tmp_path):
    """A data set cannot make us open local files or addresses."""
    secret = tmp_path / "secret.png"
    Image.fromarray(pixels(0)).save(secret)
    image = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    rows = [{"bytes": None, "path": path} for path in (str(secret), "https://localhost:1/x.png")]
    named = datasets.Dataset.from_dict({"image": rows}, features=datasets.Features(image=image))
    named.save_to_disk(tmp_path / "in")
    info = tmp_path / "in" / "dataset_info.json"
    info.write_text(
        json.dumps({**json.loads(info.read_text()), "features": {"image": {"_type": "Image"}}})
    )
    with pytest.raises(
        UserError, match="train image 0 cannot be read: the image itself only names"
    ):
        opened(tmp_path / "in")


def test_broken_images_are_named_or_left_out(tmp_path):
    good = [{"bytes": _encoded(i), "path": None} for i in range(4)]
    broken = [{"bytes": b"no image", "path": None}, *good]
    features = datasets.Features(image=datasets.Image(), label=datasets.Value("int64"))
    content = {"image": broken, "label": [9, 3, 5, 3, 5]}
    datasets.Dataset.from_dict(content, features=features).save_to_disk(tmp_path / "in")
    with pytest.raises(UserError, match="train image 0 cannot be decoded"):
        opened(tmp_path / "in")
    data = opened(tmp_path / "in", label="label", broken="skip")
    assert data.class_names == ("3", "5", "9")
    assert data.class_labels().tolist() == [0, 1, 0, 1]


def _encoded(i):
    file = io.BytesIO()
    Image.fromarray(pixels(i)).save(file, "png")
    return file.getvalue()


def elsewhere(folder, state):
    state["_data_files"][0]["filename"] = "../../train/" + state["_data_files"][0]["filename"]


def strange(folder, info):
    info["features"]["picture"] = {"_type": "Popen", "args": ["touch", "/tmp/x"]}


DAMAGE = {
    "a file cut short": lambda folder: os.truncate(next(folder.glob("*.arrow")), 700),
    "an empty file": lambda folder: os.truncate(next(folder.glob("*.arrow")), 0),
    "a missing file": lambda folder: next(folder.glob("*.arrow")).unlink(),
    "a pipe": lambda folder: [
        (path.unlink(), os.mkfifo(path)) for path in list(folder.glob("*.arrow"))[:1]
    ],
    "no JSON": lambda folder: (folder / "state.json").write_text("{"),
    "deep JSON": lambda folder: (folder / "state.json").write_text("[" * 100_000),
    "a list": lambda folder: (folder / "dataset_info.json").write_text("[]"),
    "files elsewhere": lambda folder: edit(folder / "state.json", elsewhere),
    "an unknown feature": lambda folder: edit(folder / "dataset_info.json", strange),
}


def edit(path, change):
    content = json.loads(path.read_text())
    change(path.parent, content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_data_sets_are_refused_in_one_line(how, pets, tmp_path):
    shutil.copytree(pets, tmp_path / "in")
    DAMAGE[how](tmp_path / "in" / "train")
    config = HuggingFace(path=str(tmp_path / "in"), image_size=SIDE, labels=True)
    with pytest.raises(UserError) as refused:
        config.open()
    assert "\n" not in str(refused.value).strip()
    assert "train" in str(refused.value)


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A stand-in for the Hub with one data set; gives the list of requests to it."""
    asked = []

    def load(name, subset=None):
        asked.append((name, subset))
        if name != "own/pets":
            raise ConnectionError("Couldn't reach the Hub\n(offline)")
        return datasets.DatasetDict(train=build(range(6)), test=build(range(50, 54)))

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return asked


def test_a_data_set_of_the_hub_is_downloaded_once(hub):
    config = HuggingFace(path="own/pets", image_size=SIDE, labels=True)
    assert config.address_to_copy() == "own/pets"
    for _ in range(2):
        data = config.open()
        assert data.size == 6
        assert data.held_out().size == 4
    assert config.address_to_copy() is None
    assert opened("hf://datasets/own/pets").size == 6
    assert hub == [("own/pets", None)]
    opened("own/pets", subset="small")
    assert hub[1:] == [("own/pets", "small")]


def test_the_hub_out_of_reach_and_folders_mistyped_are_told(hub, tmp_path):
    with pytest.raises(
        UserError, match=r"own/other could not be downloaded.*reach the Hub \(offline"
    ):
        opened("own/other")
    asked = len(hub)
    (tmp_path / "own").mkdir()
    for path in ("own/other", "own/other/third", "./own/pet", "/nowhere/else"):
        with pytest.raises(UserError, match="there is no folder"):
            opened(path)
    assert len(hub) == asked


def run(command, capsys, *args):
    capsys.readouterr()
    status = run_command(command, [str(arg) for arg in args])
    output = capsys.readouterr()
    return status, output.out + output.err


SMALL = (
    *("--dataset", "huggingface", "--dataset.image-size", SIDE, "--generator", "mlp"),
    *(
        "--critic",
        "mlp",
        "--generator.features",
        "8",
        "--critic.features",
        "8",
        "--penalty",
        "none",
    ),
    *("--generator-optimizer", "sgd", "--critic-optimizer", "sgd", "--ema-decay", "0"),
    *("--n-critic", "1", "--steps", "1", "--chunk", "1", "--batch-size", "4"),
)


def test_a_conditional_run_needs_one_command(pets, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("wgan_jax.experiment.evaluation.transport._POINTS", 6)
    where = ("--dataset.path", pets, "--dataset.labels", "--workdir", tmp_path / "run")
    status, said = run(train_command, capsys, *SMALL, *where)
    assert status == 0, said
    assert "classes: cat 12, dog 12, eel 0" in said
    for name, expected in {"eel": (2, "no example of class 2"), "dog": (0, "out.png")}.items():
        args = ("sample", tmp_path / "run", "--out", tmp_path / "out.png", "--label", name)
        status, said = run(main, capsys, *args)
        assert status == expected[0], said
        assert expected[1] in said


def test_a_config_opens_no_name_of_the_hub_that_nobody_gave(hub, tmp_path, capsys):
    data = {"dataset": {"type": "HuggingFace", "path": "own/pets", "image_size": SIDE}}
    (tmp_path / "given.json").write_text(json.dumps(data))
    config = ("--config", tmp_path / "given.json", "--workdir", tmp_path / "run")
    status, said = run(train_command, capsys, *config)
    assert status == 2
    assert "own/pets, which is opened only if you name it yourself: add --dataset.path" in said
    assert not hub
    status, said = run(train_command, capsys, *config, "--dataset.path", "own/pets")
    assert (status, len(hub)) == (2, 1)
    assert "batch_size 64 is larger than the data set (6 examples)" in said
