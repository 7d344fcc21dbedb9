"""The figures by command: they end with a picture and numbers, and bad input with one line."""

import json
import math
import subprocess
import sys

import chex
import numpy as np
import pytest

from wgan_jax.__main__ import main
from wgan_jax.cli import guarded
from wgan_jax.experiment.config import Config
from wgan_jax.networks import MLP
from wgan_jax.reproduce import FIGURES
from wgan_jax.reproduce.figure import Claim, Settings, as_json, verdict
from wgan_jax.reproduce.runs import train_seeds

NEED_DATA = {"fig5", "fig6", "fig7"}
FAST = ("fig1", "fig2", "gp_fig1b")


def reproduce(*args):
    return guarded(main, ["reproduce", *args])


def in_a_process(*args):
    command = [sys.executable, "-m", "wgan_jax", "reproduce", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def record(folder, name):
    assert (folder / f"{name}.png").stat().st_size > 10_000
    return json.loads((folder / f"{name}.json").read_text(), parse_constant=pytest.fail)


def check_quick(name, tmp_path):
    in_a_process(name, "--out", str(tmp_path), "--size", "quick")
    found = record(tmp_path, name)
    assert found["figure"] == name
    assert found["claims"]
    assert found["numbers"]
    assert all(claim["holds"] is None for claim in found["claims"])
    assert found["machine"]["jax"]


@pytest.mark.parametrize("name", FAST)
def test_a_figure_leaves_a_picture_and_its_numbers(name, tmp_path):
    check_quick(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FIGURES) - NEED_DATA - set(FAST)))
def test_every_figure_runs(name, tmp_path):
    check_quick(name, tmp_path)


@pytest.mark.filterwarnings("ignore")
def test_only_w1_tells_how_far_parallel_lines_are_apart(tmp_path):
    assert reproduce("fig1", "--out", str(tmp_path)) == 0
    found = record(tmp_path, "fig1")
    assert all(claim["holds"] for claim in found["claims"])
    numbers = found["numbers"]
    np.testing.assert_allclose(numbers["w1"], np.abs(numbers["theta"]), atol=1e-6)
    apart = [js for theta, js in zip(numbers["theta"], numbers["js"], strict=True) if theta]
    np.testing.assert_allclose(apart, math.log(2), rtol=1e-6)
    assert numbers["kl"].count("inf") == len(apart)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["fig2", "gp_fig1b"])
def test_the_claims_of_the_paper_hold(name, tmp_path):
    in_a_process(name, "--out", str(tmp_path))
    for claim in record(tmp_path, name)["claims"]:
        assert claim["holds"], claim


def test_seeds_train_alike_one_by_one_and_as_one_program():
    config = Config(steps=4, batch_size=8, generator=MLP(features=(8,), output_shape=(2,)))
    alone, together = (
        train_seeds(config, (3, 4), snapshots=2, samples=5, together=how) for how in (False, True)
    )
    for one, other in zip(alone, together, strict=True):
        chex.assert_trees_all_close(one[:3], other[:3], rtol=1e-5, atol=1e-6)
    assert not np.allclose(alone[0].samples, alone[1].samples)


def test_quick_runs_judge_nothing():
    claim = Claim("text", True, "evidence")
    assert verdict(claim, Settings(size="quick")) is None
    assert verdict(claim, Settings()) is True


def test_json_has_no_infinities():
    values = {"a": [1.0, math.inf, (math.nan,)], "b": np.float32(-np.inf)}
    assert as_json(values) == {"a": [1.0, "inf", ["nan"]], "b": "-inf"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["fig9"], "fig8"),
        ([], "fig1"),
        (["fig1", "--size", "huge"], "huge"),
        (["fig1", "--seeds", "none"], "none"),
        (["fig5", "--data-dir", "/nowhere"], "python -m wgan_jax prepare fashion_mnist"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_bad_input_is_told_in_one_line(args, said, tmp_path, capsys):
    assert reproduce(*args, "--out", str(tmp_path)) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_told(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert reproduce("fig1", "--out", str(tmp_path / "file")) == 2
    assert "cannot be written" in capsys.readouterr().err
