"""W1 with bounds at each evaluation of a run, and early stopping on its plateau."""

import json
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wgan_jax import cli
from wgan_jax.data.images import Digits
from wgan_jax.data.toy import Ring
from wgan_jax.experiment.build import build_gan
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.evaluation.certified import CertifiedW1
from wgan_jax.experiment.evaluation.features import Features
from wgan_jax.experiment.evaluation.plateau import is_plateau
from wgan_jax.experiment.evaluation.samples import points
from wgan_jax.experiment.evaluation.summary import summarize
from wgan_jax.latents import Normal
from wgan_jax.networks import MLP

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("few_points"),
    pytest.mark.once,
]
TINY = ["--generator.features", "8", "--critic.features", "8", "--batch-size", "16"]
TINY += ["--chunk", "5", "--log-every", "5", "--evaluate-every", "5"]
# A generator that stays where it is.
STILL = [*TINY, "--generator-optimizer.learning-rate", "1e-12", "--stop-when", "plateau"]


def moved(by):
    """A GAN whose samples are the ring, moved; and its state."""
    ring = Ring()
    config = Config(
        generator=MLP(features=(4,), output_shape=(2,)),
        critic=MLP(features=(4,)),
        latent=Normal(dim=2),
    )
    gan = build_gan(config)
    state = gan.init(jax.random.key(0), ring(jax.random.key(1), 8))
    shift = jnp.array([[by, 0.0]])
    return gan._replace(generate=lambda state, key, n: ring(key, n) + shift), state


def test_the_distance_of_a_moved_distribution_lies_within_the_bounds():
    gan, state = moved(0.5)
    found = CertifiedW1(gan, Ring())(state)
    assert 0.2 < found["w1/lower"] <= 0.5 <= found["w1/upper"]
    assert found["w1/lower"] <= found["w1/value"] <= found["w1/upper"]
    assert found["w1/value/points"] >= 256


def test_a_perfect_generator_reads_as_zero_as_data_against_data_do():
    gan, state = moved(0.0)
    found = CertifiedW1(gan, Ring())(state, final=True)
    assert found["w1/lower"] == 0
    assert found["w1/value"] < 0.05
    assert found["w1/value/floor"] < 0.05
    assert found["w1/upper/floor"] < 0.05  # both come from the same keys


def test_rows_that_are_held_out_are_what_samples_are_compared_with():
    gan, state = moved(0.0)
    gan = gan._replace(generate=lambda state, key, n: jnp.zeros((n, 8, 8, 1)))
    found = CertifiedW1(gan, Digits().open_held_out())(state)
    rows = points(next(Digits().open_held_out().draws(jax.random.key(2), 297, 1)))
    distance = np.linalg.norm(rows, axis=1).mean()  # from zero, where all samples are
    assert 0.8 * distance < found["w1/lower"] < distance < found["w1/upper"]
    assert found["w1/value/points"] == 149  # the others are for the critic to be fitted to
    assert CertifiedW1(gan, Digits(split="all").open().held_out())(state) == {}


def test_w1_between_features_carries_their_name():
    gan, state = moved(0.0)
    gan = gan._replace(generate=lambda state, key, n: jnp.zeros((n, 8, 8, 1)))
    unseen = Digits().open_held_out()
    ink = Features("ink", lambda x: x.reshape(len(x), -1).sum(1, keepdims=True), None, None, {})
    found = CertifiedW1(gan, unseen)(state, final=True, features=ink)
    rows = points(next(unseen.draws(jax.random.key(2), 297, 1)))
    distance = np.abs(rows.sum(1)).mean()  # from 0, where all samples are
    assert 0.8 * distance < found["w1/lower/ink"] <= found["w1/value/ink"] <= found["w1/upper/ink"]
    assert found["w1/lower/ink"] <= distance <= found["w1/upper/ink"]
    assert found["w1/value/ink/points"] == 149
    assert found["w1/value/ink/floor"] < 0.2 * distance
    assert CertifiedW1(gan, unseen)(state, features=ink, num=100)["w1/value/ink/points"] == 50
    shown = summarize(found)
    assert shown.startswith("W1 on ink ")
    assert "data against data" in shown


def test_each_evaluation_is_told_and_the_last_line_is_w1(tmp_path, capsys):
    args = [*TINY, "--steps", "10", "--workdir", str(tmp_path)]
    assert cli.run_command(cli.train, args) == 0
    said = capsys.readouterr().out.splitlines()
    number = r"[\d.e+-]+"
    bounds = rf"{number} \({number} to {number}, 95%\)"
    assert [line for line in said if re.fullmatch(rf"step 5 of 10  W1 {bounds}", line)]
    assert re.fullmatch(rf"W1 +{bounds}; data against data {number} \(0 to {number}\)", said[-1])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    for line in lines:
        assert line["w1/lower"] <= line["w1/value"] <= line["w1/upper"]
        assert line["w1/critic_share"] == pytest.approx(line["w1/critic"] / line["w1/value"])
        assert line["time/evaluation"] > 0
    page = (tmp_path / "report.html").read_text()
    assert "<polygon" in page
    assert "How much of W1 does it see?" in page
    assert "time in evaluations" in page


def test_training_ends_at_the_plateau_of_w1_and_stays_there(tmp_path, capsys):
    args = [*STILL, "--steps", "100", "--workdir", str(tmp_path)]
    assert cli.run_command(cli.train, args) == 0
    steps = [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").open()]
    assert steps == [5, 10, 15, 20, 25, 30]
    assert (tmp_path / "samples/30.png").exists()
    assert "step               30" in capsys.readouterr().out
    page = (tmp_path / "report.html").read_text()
    assert "30 of 100 generator iterations, done: W1 has reached its plateau." in page
    before = (tmp_path / "metrics.jsonl").read_text()
    assert cli.run_command(cli.train, args) == 0
    assert (tmp_path / "metrics.jsonl").read_text() == before
    assert cli.run_command(cli.train, [*args, "--stop-when", "steps", "--steps", "35"]) == 0
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[-1])["step"] == 35


@pytest.mark.parametrize(
    ("estimates", "settled"),
    [
        ([0.0] * 5, False),
        ([0.0] * 6, True),
        ([0.3, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0], True),
        ([0.3, 0.2, 0.1, 0.0, 0.0, 0.0, 0.0], False),
    ],
)
def test_w1_of_zero_cannot_fall_further(estimates, settled):
    assert is_plateau(estimates) == settled


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (["--evaluate-every", "0", "--stop-when", "plateau"], "set evaluate_every"),
        (["--sweep.seeds", "2", "--evaluate-every", "5", "--stop-when", "plateau"], "no sweep"),
        (
            [*("--config", "digits", "--dataset.split", "all"), *STILL[-2:], *TINY[-2:]],
            "hold none out",
        ),
    ],
)
def test_a_plateau_needs_evaluations_of_w1(args, words, tmp_path, capsys):
    assert cli.run_command(cli.train, [*args, "--workdir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.strip().splitlines()) == 1
