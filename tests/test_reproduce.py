"""`reproduce`: each figure leaves an image and numbers, and bad input gets one line."""

import json
import math
import subprocess
import sys

import chex
import jax
import numpy as np
import pytest

from wgan_jax.__main__ import main
from wgan_jax.cli import run_command
from wgan_jax.experiment.build import build_gan
from wgan_jax.experiment.config import Config, Warmup
from wgan_jax.networks import MLP
from wgan_jax.reproduce import FIGURES, robustness
from wgan_jax.reproduce.figure import Settings
from wgan_jax.reproduce.garment_judge import fashion_mnist as fashion_mnist_images
from wgan_jax.reproduce.garments import Garments, Sizes
from wgan_jax.reproduce.journal import ResultCache
from wgan_jax.reproduce.runs import train, train_seeds

pytestmark = pytest.mark.once

NEED_DATA = {"fig5", "fig6", "fig7", "robustness"}
FAST = ("fig1", "fig2")


def reproduce(*args):
    return run_command(main, ["reproduce", *args])


def in_a_process(*args):
    command = [sys.executable, "-m", "wgan_jax", "reproduce", *args]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def record(folder, name):
    assert (folder / f"{name}.png").stat().st_size > 10_000
    return json.loads((folder / f"{name}.json").read_text(), parse_constant=pytest.fail)


def check_quick(name, tmp_path, *args):
    in_a_process(name, "--out", str(tmp_path), "--size", "quick", *args)
    found = record(tmp_path, name)
    assert found["figure"] == name
    assert found["claims"]
    assert found["numbers"]
    assert all(claim["holds"] is None for claim in found["claims"])
    assert found["machine"]["jax"]
    assert found["cpu_seconds"] > 0


@pytest.mark.parametrize("name", FAST)
def test_a_figure_leaves_a_picture_and_its_numbers(name, tmp_path):
    check_quick(name, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(FIGURES) - NEED_DATA - set(FAST)))
def test_every_figure_runs(name, tmp_path):
    check_quick(name, tmp_path)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", sorted(NEED_DATA))
def test_every_figure_of_garments_runs(name, fashion_mnist, tmp_path):
    check_quick(name, tmp_path, "--data-dir", str(fashion_mnist))


@pytest.mark.filterwarnings("ignore")
def test_only_w1_tells_how_far_parallel_lines_are_apart(tmp_path):
    assert reproduce("fig1", "--out", str(tmp_path), "--note", "On a slow machine.") == 0
    found = record(tmp_path, "fig1")
    assert found["note"] == "On a slow machine."
    assert all(claim["holds"] for claim in found["claims"])
    numbers = found["numbers"]
    np.testing.assert_allclose(numbers["w1"], np.abs(numbers["theta"]), atol=1e-6)
    apart = [js for theta, js in zip(numbers["theta"], numbers["js"], strict=True) if theta]
    np.testing.assert_allclose(apart, math.log(2), rtol=1e-6)
    assert numbers["kl"].count("inf") == len(apart)


def numbers_at_default_size(name, tmp_path):
    in_a_process(name, "--out", str(tmp_path))
    return record(tmp_path, name)["numbers"]


def apart(low, high, spreads=3):
    """The means differ by more than `spreads` standard deviations of their difference."""
    low, high = np.array(low), np.array(high)
    assert high.mean() - low.mean() > spreads * math.hypot(low.std(), high.std()), (low, high)


@pytest.mark.slow
def test_the_discriminator_saturates_and_the_critic_does_not(tmp_path):
    found = numbers_at_default_size("fig2", tmp_path)
    middle = int(np.abs(np.array(found["x"]) - found["fake_mean"]).argmin())
    slopes = {
        name: np.abs(np.array(found[name]["slope"])[:, middle])
        for name in ("discriminator", "critic")
    }
    apart(np.log(100 * np.maximum(slopes["discriminator"], 1e-30)), np.log(slopes["critic"]))
    between = np.abs(np.array(found["x"])) < 2
    critic = np.abs(np.array(found["critic"]["slope"])[:, between])
    apart(np.log(critic.max(1) / critic.min(1)), np.log([10.0]), spreads=1)


@pytest.mark.slow
def test_clipping_makes_gradients_explode_or_vanish_and_the_penalty_does_not(tmp_path):
    found = numbers_at_default_size("gp_fig1b", tmp_path)
    growth = {name: np.log(rates) for name, rates in found["growth_per_layer"].items()}
    apart([0.0], growth["c = 0.1"])
    apart(growth["c = 0.01"], [0.0])
    apart(growth["c = 0.001"], growth["c = 0.01"])
    for name in ("c = 0.1", "c = 0.01", "c = 0.001"):
        apart(np.abs(growth["penalty"]), np.abs(growth[name]))
    assert found["weights_at_clip"] > 0.5


@pytest.mark.slow
def test_wgan_covers_the_ring_that_the_gan_does_not(tmp_path):
    found = numbers_at_default_size("eight_gaussians", tmp_path)

    def last(method, measure):
        return np.array([run[measure][-1] for run in found["runs"][method]])

    assert found["seeds"] == 10
    assert last("WGAN", "modes").mean() > 7.8
    several = math.sqrt(found["seeds"]) / 3  # three standard errors of the means
    apart(several * last("GAN", "modes"), several * last("WGAN", "modes"), spreads=1)
    for method in ("WGAN", "WGAN-GP", "WGAN-LP"):
        apart(several * last(method, "w1"), several * last("GAN", "w1"), spreads=1)
    assert found["methods"]["WGAN"]["ring_before_density"] > 0.5


def test_seeds_train_alike_one_by_one_and_as_one_program():
    config = Config(steps=4, batch_size=8, generator=MLP(features=(8,), output_shape=(2,)))
    alone, together = (
        train_seeds(config, (3, 4), snapshots=2, samples=5, together=how) for how in (False, True)
    )
    for one, other in zip(alone, together, strict=True):
        chex.assert_trees_all_close(one[:3], other[:3], rtol=1e-5, atol=1e-6)
    assert not np.allclose(alone[0].samples, alone[1].samples)


def test_runs_of_figures_warm_their_critic_up():
    mlp = MLP(features=(8,), output_shape=(2,))
    warmup = Warmup(n_critic=7, first=1, every=3)  # in iterations 0 and 3
    config = Config(steps=6, batch_size=8, n_critic=2, generator=mlp, warmup=warmup)
    run = train(config, snapshots=2, samples=5)
    assert int(run.state.step.critic) == 2 * 7 + 4 * 2
    assert len(run.metrics["critic/loss"]) == run.steps[-1] == 6


@pytest.mark.parametrize("method", robustness.METHODS)
def test_settings_of_robustness_are_what_they_say(method):
    image = jax.ShapeDtypeStruct((4, 32, 32, 1), np.float32)
    for setting in robustness.SETTINGS:
        images = fashion_mnist_images(Settings())
        config = robustness.config_of(setting, method, images, filters=2, width=8, steps=2)
        state = jax.eval_shape(build_gan(config).init, jax.random.key(0), image)
        batch_norm = [bool(jax.tree.leaves(player.stats)) for player in state[2:]]
        normed = setting.norm == "batch"
        assert batch_norm == [normed and method != "WGAN-GP", normed]
        assert type(config.critic_optimizer).__name__ == setting.optimizer
        assert (config.clip is not None) == (method == "WGAN")
        assert (config.penalty is not None) == (method == "WGAN-GP")
        assert config.n_critic == (1 if method == "GAN" else 5)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_figures_of_garments_train_each_run_once(fashion_mnist, tmp_path, capsys, monkeypatch):
    sizes = Sizes(filters=2, width=8, steps=4, snapshots=2, warmup=None)
    how = {"generator": "MLP", "critic": "MLP", "n_critic": 1, "seed": 0}

    def garments(folder, figure):
        path = tmp_path / folder / f"{figure}.unfinished.jsonl"
        path.parent.mkdir(exist_ok=True)
        return Garments(Settings("real", None, str(fashion_mnist), path), sizes)

    first = garments("whole", "fig3")("WGAN", **how)
    assert "iteration 4" in capsys.readouterr().out
    assert first.steps.tolist() == [2, 4]
    assert np.isfinite(first.frechet).all()
    assert (first.w1[:, 1] <= first.w1[:, 0]).all()
    assert (first.w1[:, 0] <= first.w1[:, 2]).all()
    chex.assert_trees_all_equal(garments("whole", "fig7")("WGAN", **how), first)
    assert "iteration" not in capsys.readouterr().out

    def stop_at_the_end(text, **_):
        if "iteration 4" in text:
            raise KeyboardInterrupt

    cut = garments("cut", "fig3")
    with monkeypatch.context() as patch:
        patch.setattr("builtins.print", stop_at_the_end)
        with pytest.raises(KeyboardInterrupt):
            cut("WGAN", **how)
    again = garments("cut", "fig3")
    chex.assert_trees_all_equal(again("WGAN", **how), first)
    assert "iteration 2" not in capsys.readouterr().out
    assert again.earlier[0] > 0
    assert [path.name for path in (tmp_path / "cut").iterdir()] == ["garments.jsonl"]


def test_a_figure_that_goes_on_counts_what_it_had_cost(tmp_path):
    path, times = tmp_path / "figure.unfinished.jsonl", []

    def slowly(name):
        times.append(name)
        return float(np.linalg.norm(np.random.default_rng(0).normal(size=(300, 300)), 2))

    first = ResultCache(path, {"size": "default"})
    found = [first({"name": name}, slowly) for name in "ab"]
    assert first.earlier == (0.0, 0.0)
    again = ResultCache(path, {"size": "default"})
    assert again.earlier == (0.0, 0.0)  # nothing was asked for yet
    assert again({"name": "a"}, slowly) == again({"name": "a"}, slowly) == found[0]
    cost_of_one = again.earlier
    assert again({"name": "b"}, slowly) == found[1]
    assert times == ["a", "b"]
    assert min(cost_of_one) > 0
    assert all(one < both for one, both in zip(cost_of_one, again.earlier, strict=True))
    assert ResultCache(path, {"size": "full"}).earlier == (0.0, 0.0)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["fig9"], "fig8"),
        ([], "fig1"),
        (["fig1", "--size", "huge"], "huge"),
        (["fig1", "--seeds", "none"], "none"),
        (["fig1", "--seeds", "0"], "from 1"),
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


def test_an_interrupted_benchmark_goes_on_where_it_was(tmp_path, monkeypatch):
    from wgan_jax.reproduce import w1_benchmark

    measured = []

    def measure(dim, count, name, settings):
        if len(measured) == 3:
            measured.append("interrupted")
            raise KeyboardInterrupt
        measured.append((dim, count, name))
        numbers = {"value": 0.9 * dim, "cosine": 0.5, "seconds": 1.0}
        if name != w1_benchmark.OURS:
            return {name: numbers}
        bounds = {"lower": 0.8 * dim, "upper": 2.0 * dim, "converged": True, "steps": 10}
        return {"truth": float(dim), "truth_error": 0.01, name: numbers | bounds}

    monkeypatch.setattr(w1_benchmark, "measure", measure)
    out = ["w1_benchmark", "--size", "quick", "--out", str(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        main(["reproduce", *out])
    assert len((tmp_path / "w1_benchmark.unfinished.jsonl").read_text().splitlines()) == 3
    assert reproduce(*out) == 0
    assert len(measured) == 2 * 5 + 1
    assert len(set(measured)) == len(measured)
    found = record(tmp_path, "w1_benchmark")
    assert found["numbers"]["summary"]["estimate_w1"]["mean_error"] == pytest.approx(0.1)
    assert not (tmp_path / "w1_benchmark.unfinished.jsonl").exists()
