"""An evaluation measures one generator, on data that it names, with separate keys."""

import contextlib
import dataclasses
import io
import json
import re
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
import pytest
from recorded_keys import recorded, reused

from wgan_jax import cli
from wgan_jax.__main__ import main
from wgan_jax.cli.flags import load
from wgan_jax.data import records
from wgan_jax.data.images import Digits
from wgan_jax.distances import exact_w1
from wgan_jax.experiment.build import build_gan
from wgan_jax.experiment.evaluation.quality import feature_metrics, points_features
from wgan_jax.experiment.run import open_run
from wgan_jax.gan import GAN
from wgan_jax.loop import sample_batch
from wgan_jax.transforms.ema import with_ema
from wgan_jax.types import GANState, Player, Step

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("few_points"),
    pytest.mark.once,
]
ROOT = Path(__file__).parents[1]
SMALL = ["--batch-size", "16", "--chunk", "5", "--log-every", "5", "--steps", "5"]
TOY = [*SMALL, "--generator.features", "8", "--critic.features", "8"]
# Images without convolutions, which would have to be compiled.
PIXELS = [
    *("--config", str(ROOT / "configs/digits.py"), *SMALL),
    *("--generator", "mlp", "--generator.features", "8", "--generator.output-shape", "8", "8", "1"),
    *("--critic", "mlp", "--critic.features", "8"),
]


def trained(folder, *args):
    assert cli.run_command(cli.train, [*map(str, args), "--workdir", str(folder)]) == 0
    return json.loads((folder / "evaluation.json").read_text())


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A run whose raw weights fly about, far from their average.

    The critic's learning rate has fallen to zero by its end.
    """
    folder = tmp_path_factory.mktemp("toy") / "run"
    rates = ["--generator-optimizer.learning-rate", "1", "--critic-optimizer.decay", "cosine"]
    rates += ["--critic-optimizer.decay-iterations", "5", "--ema-decay", "0.9999999999"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        found = trained(folder, *TOY, *rates, "--evaluate-every", "5")
    return Toy(folder, found, said.getvalue(), (folder / "report.html").read_text())


class Toy(NamedTuple):
    folder: Path
    evaluation: dict
    said: str
    page: str


def test_one_generator_is_measured_and_named(toy):
    found = toy.evaluation
    last = json.loads((toy.folder / "metrics.jsonl").read_text().splitlines()[-1])
    for numbers in (found, last):
        assert 0.5 < numbers["w1/minibatch"] / found["w1/exact"] < 2
        assert numbers["w1/sliced"] < found["w1/exact"]
        assert numbers["w1/lower"] < numbers["w1/value"] < numbers["w1/upper"]
        assert numbers["w1/lower"] < found["w1/exact"]
    assert found["weights"] == "averaged"
    assert "averaged" in toy.said
    assert "averaged weights" in toy.page
    assert "raw weights" in toy.page  # of the critic's health
    run = open_run(load(toy.folder / "config.json"), toy.folder)
    raw, averaged = (distance(run, state) for state in (run.state, with_ema(run.state)))
    assert found["w1/exact"] == pytest.approx(averaged, rel=0.2)
    assert found["w1/exact"] != pytest.approx(raw, rel=0.4)


def distance(run, state):
    """Exact W1 between 1,000 samples of a generator and as many of the data."""
    fake = np.asarray(run.gan.generate(state, jax.random.key(0), 1_000))
    return exact_w1(fake, run.data(jax.random.key(1), 1_000))


def test_health_is_measured_where_the_rate_has_fallen_to_zero(toy):
    assert toy.evaluation["health/gain"] != 0
    assert toy.evaluation["health/gain_error"] > 0
    assert toy.evaluation["health/step_cosine"] > 0.1
    assert "ot measured" not in toy.page


def test_every_number_has_its_sizes_and_none_is_a_grade(toy):
    found = toy.evaluation
    assert found["points"] == found["modes/points"] == 200
    assert found["w1/minibatch/points"] == 16
    assert found["w1/held_out/points"] == 8_192
    assert found["w1/value/points"] >= 256
    for text in ("200 samples", "8,192 held-out", "exact W1", "critic sees"):
        assert text in toy.said
    assert f"{found['w1/exact']:.4g}" in toy.said
    assert f"{found['w1/floor']:.4g}" in toy.said
    assert "200 samples" in toy.page
    for text in (toy.said, toy.page):
        assert not re.search(r"perfect|\bratio\b|/ floor", text)


def test_only_data_that_are_not_trained_on_are_held_out(tmp_path, capsys):
    found = trained(tmp_path / "run", *PIXELS, "--dataset.split", "all")
    said, page = capsys.readouterr().out, (tmp_path / "run/report.html").read_text()
    assert found["data"] == "training data"
    bound = {
        "w1/held_out",
        "w1/lower",
        "w1/value",
        "w1/critic",
        "health/held_out",
        "health/held_out_later",
    }
    assert not bound & found.keys()
    assert {"w1/training", "health/training_later", "health/gain"} <= found.keys()
    assert "no data are held out" in said
    assert "held-out" not in said + page
    for mine, other in (("train", "test"), ("test", "train")):
        others = Digits(split=mine).open_held_out().examples
        np.testing.assert_array_equal(others, Digits(split=other).open().examples)
    assert Digits(split="all").open_held_out() is None


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditional") / "run"
    labels = ["--dataset.labels", "--generator.num-classes", "10", "--critic.num-classes", "10"]
    return folder, trained(folder, *PIXELS, *labels)


def test_a_conditional_critic_scores_held_out_data_and_has_no_lipschitz_bound(conditional):
    found = conditional[1]
    assert found["w1/held_out/points"] == 297
    assert {"w1/critic", "w1/lipschitz"}.isdisjoint(found)
    assert found["w1/lower"] < found["w1/value"] < found["w1/upper"]  # of images alone


@pytest.mark.parametrize(
    ("splits", "split", "other"),
    [
        ("train test", "train", "test"),
        ("train test", "train[:10%]", "test"),
        ("train test", "test", "train"),
        ("train test", "train+test", None),
        ("train test", "train[50%:]+test[:50%]", None),
        ("train test", "all", None),
        ("train validation test", "train", "validation"),
        ("train validation test", "train+validation", "test"),
        ("train", "train", None),
        ("train", "train[:80%]", "train[80%:]"),
        ("train", "train[1000:]", "train[:1000]"),
        ("train", "train[10%:20%]", None),
    ],
)
def test_a_split_is_held_out_if_it_shares_nothing(splits, split, other, monkeypatch):
    class Info:
        num_examples = 5

    class Builder:
        info = type("Info", (), {"splits": dict.fromkeys(splits.split(), Info)})

    monkeypatch.setattr(records, "open_builder", lambda name, data_dir: Builder)
    assert records.other_split("some_set", split, None) == other


def test_nobody_is_told_that_a_floor_cannot_be_beaten():
    false = ("no generator can", "1 is perfect", "nothing can be told")
    sources = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.rglob("wgan_jax/**/*.py")]
    for path in [*sources, *ROOT.glob("configs/*.py"), *ROOT.glob("docs/*.py")]:
        text = " ".join(path.read_text().split())
        assert not [words for words in false if words in text], path


# The order of an epoch is drawn anew wherever it is asked for.
ORDER = ("bits", (32, 6))


def in_a_critic_step(folder, monkeypatch):
    """What a critic step draws: the next one is taken twice, by the optimizer and by descent."""
    config = load(folder / "config.json")
    with recorded(monkeypatch) as counts:
        gan = build_gan(config)
        batch = sample_batch(config.dataset.open(), jax.random.key(1), 0, config.batch_size)
        state = gan.init(jax.random.key(0), batch)
        counts.clear()
        gan.critic_step(state, batch)
    return {use for _, use in counts}


def test_no_key_of_a_conditional_evaluation_is_used_twice(conditional, monkeypatch):
    folder, _ = conditional
    (folder / "features-lenet.safetensors").unlink(missing_ok=True)
    with recorded(monkeypatch) as counts:
        assert main(["evaluate", str(folder), "--metrics", "w1,critic"]) == 0
    twice = in_a_critic_step(folder, monkeypatch) | {ORDER}
    assert len(counts) > 50
    assert reused(counts, frozenset(twice)) == []


def test_no_key_of_a_sweep_is_used_twice(tmp_path, monkeypatch):
    """Members of a grid share seeds, and the first of them that of the data."""
    folder, args = tmp_path / "run", [*TOY, "--sweep.seeds", "2"]
    args += ["--sweep.learning-rates", "1e-3", "1e-4"]
    assert cli.run_command(cli.train, [*args, "--workdir", str(folder)]) == 0
    with recorded(monkeypatch) as counts:
        assert main(["evaluate", str(folder)]) == 0
    assert len(counts) > 10
    assert reused(counts) == []
    rows = json.loads((folder / "members.json").read_text())
    assert {row["weights"] for row in rows} == {"raw"}
    assert len({row["w1/exact"] for row in rows}) == len(rows)


def balanced(key, n):
    """Independent rows in order: half of them at each of two far points."""
    at = np.where(np.arange(n) < n // 2, 0.0, 10.0)[:, None]
    return (at + 0.1 * jax.random.normal(key, (n, 2))).astype(np.float32)


def test_sorted_samples_are_compared_as_wholes():
    nothing = Player({}, {}, ())
    state = GANState(Step(np.int32(0), np.int32(0)), jax.random.key(0), nothing, nothing)
    gan = GAN(None, None, None, None, lambda state, key, n: balanced(key, n))
    features = dataclasses.replace(points_features((2,)), batch=500)
    found = feature_metrics(gan, state, balanced, features, names=("frechet",), points=750)
    assert found["frechet/points"] < 0.01
    assert found["frechet/points/floor"] < 0.01
