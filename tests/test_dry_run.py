"""A dry run reports what a run would need, and leaves nothing behind."""

import re

import jax
import numpy as np
import pytest
from PIL import Image

from wgan_jax.cli.common import run_command
from wgan_jax.cli.train import train
from wgan_jax.experiment import train as loop
from wgan_jax.experiment.build import constraint_warning
from wgan_jax.experiment.config import Config
from wgan_jax.networks import MLP, GroupSort
from wgan_jax.objectives import JensenShannon
from wgan_jax.penalties import GradientPenalty

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


def test_an_mlp_generates_points_of_the_dimension_of_the_data(capsys):
    rows = told(["--generator", "mlp", "--critic", "mlp", "--steps", "3"], capsys)
    assert "3 iterations" in rows["time to the end"]


def test_a_dry_run_on_a_folder_decodes_nothing(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("cat", "dog"):
        (tmp_path / "in" / name).mkdir(parents=True)
        for i in range(3):
            Image.new("RGB", (9, 9), (i, 0, 0)).save(tmp_path / "in" / name / f"{i}.png")
    (tmp_path / "in" / "dog" / "cut.png").write_bytes(b"")
    what = ["--config", "eight_gaussians", "--dataset", "folder", "--dataset.labels"]
    what += ["--batch-size", "4"]
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


@pytest.mark.parametrize("args", [["--dry-run"], ["--steps", "1"]])
def test_too_few_examples_are_refused_before_and_at_training(args, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "empty").mkdir()
    for name, count in {"cat": 3, "dog": 1}.items():
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (4, 4), (i, 0, 0)).save(tmp_path / "pets" / name / f"{i}.png")
    (tmp_path / "one.csv").write_text("a,b\n1,2\n")
    np.save("none.npy", np.zeros((0, 3)))
    np.save("few.npy", np.zeros((9, 2)))
    small = ["--batch-size", "4", "--dataset.image-size", "4"]
    pets = ["--generator", "dcgan-generator", "--critic", "dcgan-critic"]
    for what, said in {
        ("folder", "empty", *small): "empty holds no images",
        ("folder", "pets/dog", *small): "pets/dog holds one image, 0.png",
        ("folder", "pets", *small, *pets, "--dataset.labels"): "class dog of pets has one image",
        ("table", "one.csv"): "the data set has 1 example, but comparisons need at least two",
        ("arrays", "none.npy"): "none.npy of shape [0, 3] is empty",
        ("arrays", "few.npy"): "batch_size 128 is larger than the data set (9 examples)",
    }.items():
        kind, path, *more = what
        asked = ["--dataset", kind, "--dataset.path", path, "--devices", "1", *more, *args]
        assert run_command(train, asked) == 2, what
        error = capsys.readouterr().err
        assert said in error
        assert error.count("\n") == 1


SPECTRAL = {"critic": MLP(spectral_norm=True)}


@pytest.mark.parametrize(
    ("parts", "warning"),
    [
        (
            {"penalty": GradientPenalty()},
            "clipping and the penalty both constrain the critic: --clip none",
        ),
        (SPECTRAL, "clipping and its layers both constrain the critic: --clip none"),
        ({"critic": GroupSort()}, "clipping and its layers both constrain the critic: --clip none"),
        ({"clip": None}, "nothing bounds the critic's slope"),
        ({}, ""),
        ({"clip": None, **SPECTRAL}, ""),
        ({"clip": None, "critic": GroupSort()}, ""),
        ({"clip": None, "penalty": GradientPenalty()}, ""),
        ({"clip": None, "objective": JensenShannon()}, ""),
    ],
)
def test_a_critic_constrained_twice_or_not_at_all_is_warned_of(parts, warning):
    found = constraint_warning(Config(**parts))
    assert warning in found
    assert bool(warning) == bool(found)


def test_a_dry_run_and_training_warn_alike(tmp_path, capsys, caplog):
    rows = told(["--clip", "none", "--steps", "1"], capsys)
    networks = {"generator": MLP(features=(8,), output_shape=(2,)), "critic": MLP(features=(8,))}
    config = Config(**networks, clip=None, n_critic=1, batch_size=8, steps=1)
    loop.train(config, tmp_path / "run")
    (warning,) = (r.getMessage() for r in caplog.records if r.levelname == "WARNING")
    assert warning == f"warning: {rows['warning']}"
