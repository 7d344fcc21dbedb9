"""A run on changed data, and hosts with different data, are refused by name."""

import io
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.faults.inputs import prepared, reading
from tests.test_hosts import finish, port
from wgan_jax import cli
from wgan_jax.__main__ import main
from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.data.stream import TFDSStream

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.once]
ROOT = Path(__file__).parents[1]


def images(seed, count=8):
    files = [io.BytesIO() for _ in range(count)]
    for i, file in enumerate(files):
        pixels = np.random.default_rng([seed, i]).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(file, "png")
    return [file.getvalue() for file in files]


def arguments(data_dir, workdir, *more):
    small = ["--generator.filters", "2", "--critic.filters", "2", "--n-critic", "1"]
    return [*reading(data_dir, workdir), *small, "--sample-every", "1000000", *more]


def test_a_run_on_changed_data_is_refused_until_asked_for_and_evaluated_with_a_warning(
    tmp_path, capsys, monkeypatch
):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("wgan_jax.cli.evaluate.summarize_run", lambda *_: None)

    def train(steps):
        where = arguments(tmp_path / "data", tmp_path / "run", "--steps", steps)
        return cli.run_command(cli.train, where)

    prepared(tmp_path / "data", images(0))
    assert train("1") == 0
    (tmp_path / "data").rename(tmp_path / "former")
    prepared(tmp_path / "data", images(1))
    capsys.readouterr()
    assert train("2") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "not those that its run began with" in said
    assert "other values" in said

    def evaluated():
        status = cli.run_command(main, ["evaluate", str(tmp_path / "run"), "--metrics", "critic"])
        return status, capsys.readouterr().err

    status, said = evaluated()
    assert (status, said.count("\n")) == (0, 1)
    assert "the data are not those that the run in" in said
    assert "other values" in said
    (tmp_path / "run/data.json").unlink()
    assert train("2") == 0
    capsys.readouterr()
    assert evaluated() == (0, "")


def test_a_fingerprint_tells_size_order_values_and_types_apart():
    x = np.arange(24, dtype=np.uint8).reshape(6, 4)
    labels = np.arange(6, dtype=np.int32)
    sets = [x, x[:5], x[::-1], x + 1, x.astype(np.int32), x.reshape(6, 2, 2), (x, labels)]
    sets += [(x, labels + 1)]
    found = [str(ArrayDataset(one).fingerprint()) for one in sets]
    assert len(set(found)) == len(sets)
    assert ArrayDataset(x.copy()).fingerprint() == ArrayDataset(x).fingerprint()


def test_a_fingerprint_tells_streams_apart(tmp_path):
    for name, files in {"a": images(0), "b": images(1), "c": images(0, 7)}.items():
        prepared(tmp_path / name, files)
    found = [
        TFDSStream(name="strange", channels=1, data_dir=str(tmp_path / name)).open().fingerprint()
        for name in "aabc"
    ]
    assert found[0] == found[1]
    assert len({str(one) for one in found}) == 3
    assert [one["size"] for one in found] == [8, 8, 8, 7]


@pytest.mark.process
def test_hosts_with_different_data_are_told_and_gone(tmp_path):
    """The same command on both, each with a folder of its own by that name."""
    address, pair = f"127.0.0.1:{port()}", []
    for index in range(2):
        place = tmp_path / str(index)
        prepared(place / "data", images(index))
        args = arguments("data", tmp_path / "run")
        args[args.index("configs/digits.py")] = str(ROOT / "configs/digits.py")
        where = ["--coordinator", address, "--process-count", "2", "--process-index", str(index)]
        environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, str(ROOT / "train.py"), *args, *where]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        environment["PYTHONPATH"] = str(ROOT)
        pair.append(subprocess.Popen(command, cwd=place, env=environment, **pipes))
    statuses, said = finish(pair)
    assert statuses == [2, 2], said
    assert said[0] == said[1]
    assert "host 1 differs from host 0 in its data (other values" in said[0]
