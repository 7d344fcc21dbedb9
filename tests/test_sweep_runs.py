"""A sweep from the command line: one workdir, each member equal to its solo run."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from archives import arrays_of

from wgan_jax import cli
from wgan_jax.__main__ import main
from wgan_jax.cli.flags import load, parse
from wgan_jax.errors import UserError
from wgan_jax.experiment import train as loop
from wgan_jax.experiment.config import Config, Sweep
from wgan_jax.experiment.config_io import from_dict, to_dict
from wgan_jax.experiment.sweep import members, varied_hyperparameters
from wgan_jax.experiment.sweep_run import open_sweep, write_member
from wgan_jax.penalties import GradientPenalty

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("few_points"),
    pytest.mark.once,
]
ROOT = Path(__file__).parents[1]
SMALL = [
    *("--generator.features", "8", "--critic.features", "8", "--batch-size", "16"),
    *("--n-critic", "2", "--chunk", "10", "--log-every", "10"),
    *("--checkpoint-every", "10", "--sample-every", "1000", "--evaluate-every", "0"),
]
# The last learning rate is lost within a few steps; the first have to go on without it.
GRID = ["--clip", "none", "--penalty", "gradient-penalty", "--sweep.seeds", "2"]
GRID += ["--sweep.learning-rates", "1e-3", "1e30", "--sweep.penalty-weights", "0.1"]


def train(*args):
    return cli.run_command(cli.train, [*SMALL, *GRID, *map(str, args)])


def leaves(state):
    arrays = state._replace(key=jax.random.key_data(state.key))
    return [np.asarray(x) for x in jax.tree.leaves(arrays)]


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    assert train("--steps", "20", "--workdir", folder) == 0
    return folder


def opened(folder):
    return open_sweep(load(folder / "config.json"), folder)


@pytest.mark.parametrize("flag", ["--metrics=w1", "--num=16", "--features=lenet.safetensors"])
def test_flags_for_one_member_are_refused_for_all(workdir, flag):
    with pytest.raises(UserError, match=rf"{flag.split('=')[0]} is for one member .* --member"):
        main(["evaluate", str(workdir), flag])


def test_each_member_is_its_solo_run(workdir, tmp_path):
    runs = opened(workdir)
    values = [json.loads(t) for t in (workdir / "members.jsonl").read_text().splitlines()]
    k = 1
    solo = loop.train(members(runs.config)[k], tmp_path)
    for ours, alone in zip(leaves(runs.member(k).state), leaves(solo.state), strict=True):
        np.testing.assert_allclose(ours, alone, rtol=1e-5, atol=1e-6)
    lines = [json.loads(t) for t in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for member, alone in zip(values, lines, strict=True):
        assert member["step"] == alone["step"]
        for name in ("critic/loss", "generator/loss", "critic/penalty"):
            np.testing.assert_allclose(member[name][k], alone[name], rtol=1e-4, atol=1e-6)


def test_a_lost_member_stays_finite_and_the_others_go_on(workdir):
    runs = opened(workdir)
    assert np.asarray(runs.state.step.generator).tolist() == [20, 20, 0, 0]
    assert runs.step == 20
    assert all(np.isfinite(x).all() for x in leaves(runs.state) if x.dtype.kind == "f")
    last = json.loads((workdir / "members.jsonl").read_text().splitlines()[-1])
    assert last["critic/loss"][2:] == [None, None]
    summary = json.loads((workdir / "metrics.jsonl").read_text().splitlines()[-1])
    assert summary["members"] == 2
    np.testing.assert_allclose(summary["critic/loss"], np.mean(last["critic/loss"][:2]))
    np.testing.assert_allclose(summary["critic/loss/std"], np.std(last["critic/loss"][:2]))


def test_it_resumes_bitwise_also_from_the_first_version(workdir, tmp_path):
    """There a sweep was called `population`, in config.json and on the command line."""
    config = load(workdir / "config.json")
    loop.train(dataclasses.replace(config, steps=10), tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    written["population"] = written.pop("sweep") | {"type": "Population"}
    (tmp_path / "config.json").write_text(json.dumps(written))
    former = [word.replace("sweep", "population") for word in [*SMALL, *GRID]]
    args = [*former, "--steps", "20", "--workdir", str(tmp_path)]
    assert cli.run_command(cli.train, args) == 0
    for whole, resumed in zip(*(leaves(opened(f).state) for f in (workdir, tmp_path)), strict=True):
        np.testing.assert_array_equal(whole, resumed)
    assert (workdir / "members.jsonl").read_text() == (tmp_path / "members.jsonl").read_text()
    assert load(tmp_path / "config.json").sweep == config.sweep
    assert "population" not in json.loads((tmp_path / "config.json").read_text())


def test_what_it_leaves_and_samples_of_a_member(workdir, tmp_path):
    for name in ("config.json", "metrics.jsonl", "curves.png", "samples/20.png"):
        assert (workdir / name).stat().st_size > 0
    rows = json.loads((workdir / "members.json").read_text())
    assert [row["seed"] for row in rows] == [0, 1, 0, 1]
    assert [row["critic_optimizer.learning_rate"] for row in rows] == [1e-3, 1e-3, 1e30, 1e30]
    assert all(row["w1/exact"] > 0 and row["modes/total"] == 8 for row in rows)
    drawn = []
    for member in ("0", "1"):
        out = str(tmp_path / f"{member}.npz")
        command = ["sample", str(workdir), "--num", "5", "--member", member, "--out", out]
        assert main(command) == 0
        drawn.append(arrays_of(out)["samples"])
    assert drawn[0].shape == (5, 2)
    assert not np.array_equal(*drawn)
    for member, told in ((["--member", "4"], "--member 0 to 3"), ([], "--member 0 to 3")):
        with pytest.raises(UserError, match=told):
            main(["sample", str(workdir), *member, "--out", str(tmp_path / "new.npz")])


def test_a_line_without_a_member_is_left_out_of_its_log(workdir, tmp_path):
    lines = (workdir / "members.jsonl").read_text()
    (tmp_path / "members.jsonl").write_text(lines + '{"step": 21, "critic/loss": [0.5]}\n')
    folder = write_member(opened(workdir).member(1), tmp_path, 1)
    written = (folder / "metrics.jsonl").read_text().splitlines()
    assert len(written) == len(lines.splitlines())


@pytest.mark.slow
def test_one_member_is_evaluated_as_a_run(workdir, capsys):
    assert main(["evaluate", str(workdir), "--member", "1"]) == 0
    assert "exact W1" in capsys.readouterr().out
    assert json.loads((workdir / "members/1/evaluation.json").read_text())["step"] == 20
    assert (workdir / "members/1/report.html").stat().st_size > 0
    assert load(workdir / "members/1/config.json").seed == 1


def test_the_field_is_made_by_its_own_flags():
    args = ["--sweep.seeds", "3", "--sweep.clip-values", "0.1", "0.2", "--seed", "7"]
    config = parse(args, Config(), prog="train.py", about="")
    assert config.sweep == Sweep(seeds=3, clip_values=(0.1, 0.2))
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    assert [(s["seed"], s["clip.c"]) for s in varied_hyperparameters(config)] == [
        *((7, 0.1), (8, 0.1), (9, 0.1)),
        *((7, 0.2), (8, 0.2), (9, 0.2)),
    ]
    without = parse(["--population", "none"], config, prog="train.py", about="")
    assert without.sweep is None
    assert parse(["--population", "population"], without, prog="", about="").sweep == Sweep()
    solo = members(config)[4]
    assert (solo.seed, solo.clip.c, solo.sweep) == (8, 0.2, None)


@pytest.mark.parametrize(
    ("config", "told"),
    [
        ({"sweep": Sweep(penalty_weights=(1.0,))}, "penalty_weights sets penalty.weight"),
        (
            {
                "clip": None,
                "penalty": GradientPenalty(),
                "sweep": Sweep(clip_values=(0.1,)),
            },
            r"clip_values sets clip\.c",
        ),
    ],
)
def test_a_grid_over_what_is_not_there_is_refused(config, told):
    with pytest.raises(UserError, match=told):
        members(Config(**config))


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"seeds": 0}, "seeds must be at least 1"),
        ({"clip_values": (0.0,)}, "must be positive"),
        ({"learning_rates": (1e-3,), "critic_learning_rates": (1e-3,)}, "both players"),
        ({"penalty_weights": (-1.0,)}, "not be negative"),
    ],
)
def test_bad_sweeps_are_named(fields, told):
    with pytest.raises(ValueError, match=told):
        Sweep(**fields)


@pytest.mark.skipif(len(getattr(os, "sched_getaffinity", lambda _: [0])(0)) < 2, reason="one core")
def test_members_share_the_cores_of_a_machine_without_accelerator(tmp_path):
    env = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    args = [*SMALL, "--sweep.seeds", "2", "--steps", "2", "--workdir", str(tmp_path / "sweep")]
    done = subprocess.run(
        [sys.executable, "train.py", *args], cwd=ROOT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "on 2 cpu devices" in done.stdout
