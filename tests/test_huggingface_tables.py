"""Tables that Hugging Face's `save_to_disk` wrote, read as the same tables in CSV would be."""

import dataclasses
import sys

import numpy as np
import pytest
from saved_sets import NAMES, PEOPLE, people

from wgan_jax.cli.common import run_command
from wgan_jax.cli.train import train as train_command
from wgan_jax.data import Table
from wgan_jax.errors import UserError

datasets = pytest.importorskip("datasets", reason="datasets comes with the extra 'huggingface'")
pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_saved_set_of_columns_is_the_table_that_it_would_be_as_csv(tmp_path):
    people().save_to_disk(tmp_path / "set", num_shards=2)
    words = {"pet": [NAMES[i] for i in PEOPLE["pet"]]}
    rows = zip(*(PEOPLE | words).values(), strict=True)
    lines = [",".join(map(str, row)) for row in [PEOPLE, *rows]]
    (tmp_path / "set.csv").write_text("\n".join(lines))
    saved, written = (
        Table(path=str(tmp_path / name), one_hot=("city",), label="pet").open()
        for name in ("set", "set.csv")
    )
    for one, other in zip(saved.examples, written.examples, strict=True):
        np.testing.assert_array_equal(one, other)
    assert saved.class_names == written.class_names == NAMES
    columns = saved.units.by_column(saved.examples[0])
    np.testing.assert_allclose(columns["height"], PEOPLE["height"], rtol=1e-6)
    for name in ("age", "smoker", "city"):
        assert list(columns[name]) == PEOPLE[name]


def test_a_saved_set_that_changes_is_read_anew(tmp_path):
    config = Table(path=str(tmp_path / "set"), columns=("age",))
    people().save_to_disk(tmp_path / "set")
    assert config.open().size == 6
    people().select(range(4)).save_to_disk(tmp_path / "set")
    assert config.open().size == 4


def test_a_saved_set_with_splits_holds_one_out_and_each_can_be_chosen(tmp_path, capsys):
    splits = {"train": people(), "test": people().select(range(3))}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "set")
    both = Table(path=str(tmp_path / "set"), columns=("age", "pet"), one_hot=("pet",))
    alone = dataclasses.replace(both, path=str(tmp_path / "set" / "train"))
    for config, unseen in ((both, PEOPLE["age"][:3]), (alone, None)):
        data = config.open()
        columns = data.units.by_column(data.examples)
        assert list(columns["pet"]) == [NAMES[i] for i in PEOPLE["pet"]]
        held_out = data.held_out()
        assert (held_out is None) == (unseen is None)
        if held_out is not None:
            assert list(held_out.units.by_column(held_out.examples)["age"]) == unseen
    datasets.DatasetDict({"a": people(), "b": people()}).save_to_disk(tmp_path / "others")
    command = ["--dataset", "table", "--dataset.path", str(tmp_path / "others"), "--dry-run"]
    assert run_command(train_command, command) == 2
    (told,) = capsys.readouterr().err.strip().splitlines()
    assert f"has the splits a, b: choose one, {tmp_path / 'others' / 'a'}" in told


@pytest.mark.parametrize(
    ("changes", "options", "told"),
    [
        (
            {"pet": [0, -1, 1, 2, None, 0]},
            {"label": "pet"},
            "no value of 'pet' in 2 of 6 rows: 1, 4 ",
        ),
        ({}, {}, "text in 'city' .*'pet' .*name a column of categories in --dataset.one-hot"),
        ({}, {"columns": ("hight",)}, "did you mean 'height'"),
        (
            {"path": (datasets.List(datasets.Value("float32")), [[1.0]] * 6)},
            {"columns": ("age", "path")},
            "the column 'path' of .* holds list<.*--dataset.columns",
        ),
        (
            {"age": [1, None] * 3},
            {"columns": ("age",)},
            "no value of 'age' in 3 of 6 rows: 1, 3, 5 ",
        ),
    ],
)
def test_columns_of_a_saved_set_that_are_no_table_are_told(tmp_path, changes, options, told):
    people(**changes).save_to_disk(tmp_path / "set")
    with pytest.raises(UserError, match=told) as refusal:
        Table(path=str(tmp_path / "set"), **options).open()
    assert "\n" not in str(refusal.value)


def test_a_damaged_saved_set_is_no_table(tmp_path, monkeypatch):
    config = Table(path=str(tmp_path / "set"), columns=("age",))
    people().save_to_disk(tmp_path / "set")
    shard = next((tmp_path / "set").glob("*.arrow"))
    content = shard.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no arrow", content[:-700]):
        shard.write_bytes(damaged)
        with pytest.raises(UserError) as refusal:
            config.open()
        assert "\n" not in str(refusal.value)
    shard.unlink()
    with pytest.raises(UserError, match="cannot be used"):
        config.open()
    (tmp_path / "set" / "state.json").unlink()
    with pytest.raises(UserError, match="not a folder that save_to_disk of `datasets` wrote"):
        config.open()


def test_a_saved_set_without_the_package_names_its_extra(tmp_path, monkeypatch):
    people().save_to_disk(tmp_path / "set")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"save_to_disk needs an extra; run: .*huggingface"):
        Table(path=str(tmp_path / "set"), columns=("age",)).open()
