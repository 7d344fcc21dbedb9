"""Folders in a bucket, with fsspec's memory in place of the bucket."""

import os
from pathlib import Path

import fsspec
import pytest
from small_sets import grey, write

from wgan_jax import cli
from wgan_jax.data.remote import cached
from wgan_jax.data.stream import TFDSStream
from wgan_jax.errors import UserError
from wgan_jax.experiment.lock import lock
from wgan_jax.experiment.mirror import Mirror


@pytest.fixture
def bucket():
    files = fsspec.filesystem("memory")
    files.store.clear()
    yield files
    files.store.clear()


def test_a_workdir_and_its_copy_stay_alike(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mirror = Mirror("memory://bucket/run")
    mirror.pull()
    assert [path.name for path in mirror.folder.iterdir()] == [".lock"]
    for step in (1, 2):
        (mirror.folder / f"checkpoints/{step}/state").mkdir(parents=True)
        (mirror.folder / f"checkpoints/{step}/state/0").write_bytes(bytes([step]))
    (mirror.folder / "metrics.jsonl").write_text("1\n")
    (mirror.folder / ".lock").write_text("7")
    mirror.push()
    (mirror.folder / "checkpoints/1/state/0").unlink()
    (mirror.folder / "metrics.jsonl").write_text("1\n2\n")
    mirror.push()
    there = ["/bucket/run/checkpoints/2/state/0", "/bucket/run/metrics.jsonl"]
    assert bucket.find("/bucket/run") == there
    assert bucket.cat(there[1]) == b"1\n2\n"

    (mirror.folder / "metrics.jsonl").write_text("of another run")
    again = Mirror("memory://bucket/run/")
    again.pull()
    assert again.folder == mirror.folder
    assert (again.folder / "metrics.jsonl").read_text() == "1\n2\n"
    assert (again.folder / "checkpoints/2/state/0").read_bytes() == b"\2"


def test_a_copy_that_another_process_trains_in_stays_as_it_is(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mirror = Mirror("memory://bucket/run")
    mirror.pull()
    (mirror.folder / "metrics.jsonl").write_text("not sent yet")
    with lock(mirror.folder), pytest.raises(UserError, match=f"in use by process {os.getpid()}"):
        Mirror("memory://bucket/run").pull()
    assert (mirror.folder / "metrics.jsonl").read_text() == "not sent yet"


def test_a_copy_is_kept_while_the_bucket_cannot_be_reached(bucket, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    mirror = Mirror("memory://bucket/run")
    mirror.pull()
    (mirror.folder / "metrics.jsonl").write_text("not sent yet")

    def exists(*_):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(type(bucket), "exists", exists)
    with pytest.raises(UserError, match=r"memory://bucket/run cannot be used: .*no route to host"):
        mirror.pull()
    assert (mirror.folder / "metrics.jsonl").read_text() == "not sent yet"


@pytest.mark.filterwarnings("ignore")
def test_a_data_set_is_copied_once(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    write(tmp_path / "data", "lsun", [grey("lsun", i) for i in range(3)])
    bucket.put(str(tmp_path / "data/lsun"), "/data/lsun", recursive=True)
    spec = TFDSStream(image_size=16, data_dir="memory://data")
    assert spec.open().size == 3
    bucket.store.clear()
    assert sorted(x[8, 8, 0] for x in next(spec.open().batches(0, 3, 0))) == [0, 1, 2]
    with pytest.raises(UserError, match="holds no celeb_a"):
        TFDSStream(name="celeb_a", data_dir="memory://data").open()


def test_no_file_leaves_its_folder(tmp_path):
    class Files:
        def find(self, root):
            return [f"{root}/../../evil"]

    from wgan_jax.data.remote import download

    with pytest.raises(UserError, match="outside"):
        download(Files(), "/bucket", tmp_path / "here")


def test_what_cannot_be_reached_is_told_in_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = ["--config", str(Path(__file__).parents[1] / "configs/ring.py:gan")]
    assert cli.run_command(cli.train, [*config, "--workdir", "nonesuch://run", "--steps", "1"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "nonesuch://run" in said


@pytest.mark.parametrize("name", ["folder", "table", "arrays", "huggingface"])
@pytest.mark.parametrize("address", ["gs://bucket/mine", "s3://user:secret@bucket/mine"])
def test_own_data_at_an_address_are_to_be_copied_first(name, address, tmp_path, capsys):
    suffix = {"table": ".csv", "arrays": ".npy"}.get(name, "")
    args = ["--dataset", name, "--dataset.path", address + suffix]
    assert cli.run_command(cli.train, [*args, "--workdir", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "is an address: copy it to this machine first" in said
    assert "secret" not in said
    assert ("gcloud storage cp -r gs://bucket/mine" in said) == address.startswith("gs://")


def test_copies_lie_in_the_cache_folder_that_the_user_names(bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "large disk"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    bucket.pipe("/data/lsun/1.0.0/features.json", b"{}")
    copy = cached("memory://data", "lsun")
    assert (tmp_path / "large disk") in copy.parents
    assert (copy / "lsun/1.0.0/features.json").read_bytes() == b"{}"
    assert not (tmp_path / "home").exists()
