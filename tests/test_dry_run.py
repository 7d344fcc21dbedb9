"""A dry run tells what a run would take, and leaves nothing behind."""

import re

import jax
import numpy as np
from PIL import Image

from wgan_jax.cli.common import run_command
from wgan_jax.cli.train import train
from wgan_jax.networks import MLP

SMALL = ["--generator.features", "8", "--critic.features", "8", "--n-critic", "1", "--devices", "1"]


def told(args, capsys):
    assert run_command(train, ["--dry-run", *SMALL, *args]) == 0
    rows = (re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines())
    return dict(rows)


def test_a_dry_run_tells_sizes_and_time_and_writes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rows = told(["--steps", "1000", "--workdir", "there"], capsys)
    network = MLP(features=(8,))
    variables = jax.eval_shape(network.init, jax.random.key(0), np.zeros((1, 2), np.float32))
    count = sum(x.size for x in jax.tree.leaves(variables["params"]))
    assert rows["critic"] == f"{count} parameters"
    assert rows["data"] == "ring, a distribution"
    assert rows["batch"].startswith("64, 64 on each of 1 cpu device")
    assert rows["would write to"] == "there"
    assert "1,000 iterations" in rows["time to the end"]
    assert re.match(r"[\d.]+ m?s", rows["an iteration"])
    assert not list(tmp_path.iterdir())


def test_a_dry_run_on_a_folder_decodes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("cat", "dog"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (9, 9), (i, 0, 0)).save(tmp_path / "in" / name / f"{i}.png")
    (tmp_path / "in" / "dog" / "cut.png").write_bytes(b"")
    what = ["--config", "eight_gaussians", "--dataset", "folder", "--dataset.labels"]
    where = ["--dataset.path", str(tmp_path / "in"), "--dataset.image-size", "4"]
    rows = told([*what, *where, "--workdir", str(tmp_path / "run")], capsys)
    assert rows["data"] == "in, 7 examples of 2 classes: cat, dog"
    assert rows["examples"] == "4 x 4 x 3 float32, a label int32"
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_a_dry_run_of_what_cannot_run_is_refused(capsys):
    assert run_command(train, ["--dry-run", "--batch-size", "7", "--devices", "2"]) == 2
    assert "2 devices cannot share a batch of 7" in capsys.readouterr().err
    assert run_command(train, ["--dry-run", "--sweep.seeds", "2"]) == 2
    assert "--dry-run is for one run" in capsys.readouterr().err
