"""`evaluate`: all metrics that apply, next to their baselines, rank samples as expected."""

import dataclasses
import errno
import json
import os
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from PIL import Image

from wgan_jax import cli
from wgan_jax.__main__ import main
from wgan_jax.cli.flags import load
from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.data.images import Digits
from wgan_jax.data.toy import Ring
from wgan_jax.experiment.evaluation import features
from wgan_jax.experiment.evaluation.features import Features
from wgan_jax.experiment.evaluation.quality import MEASURES, feature_metrics, points_features
from wgan_jax.experiment.evaluation.summary import features_table
from wgan_jax.experiment.evaluation.watch import cheap_sample_metrics
from wgan_jax.experiment.evaluation.weights import write_arrays
from wgan_jax.experiment.train import train
from wgan_jax.gan import GAN
from wgan_jax.networks import MLP
from wgan_jax.networks.lenet import LeNet
from wgan_jax.transforms.ema import with_ema
from wgan_jax.types import GANState, Player, Step

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]
NOTHING = GANState(
    Step(np.int32(0), np.int32(0)), jax.random.key(0), Player({}, {}, ()), Player({}, {}, ())
)


def generator(generate):
    return GAN(None, None, None, None, lambda state, key, n: generate(key, n))


def test_a_perfect_generator_reads_like_the_floor():
    ring = Ring(std=0.2)
    found = feature_metrics(generator(ring), NOTHING, ring, points_features((2,)), points=300)
    assert found["frechet/points/points"] == 300
    for name in ("frechet", "kernel", "precision", "recall", "density", "coverage"):
        value, error, floor = (found[f"{name}/points{leaf}"] for leaf in ("", "/error", "/floor"))
        assert error > 0
        assert abs(value - floor) < 8 * error + 0.02
    assert "classifier/points" not in found


def test_a_bad_generator_does_not():
    ring = Ring(std=0.2)
    half = generator(lambda key, n: ring(key, n) * np.array([[1.0, 0.0]], np.float32))
    found = feature_metrics(half, NOTHING, ring, points_features((2,)), points=300)
    for name in ("frechet", "kernel"):
        assert found[f"{name}/points"] > 5 * abs(found[f"{name}/points/floor"])
    for name in ("precision", "recall", "density", "coverage"):
        assert found[f"{name}/points"] < 0.7 * found[f"{name}/points/floor"]


def test_real_samples_are_never_repeated_and_labels_are_asked_for():
    images = np.arange(1_000, dtype=np.float32).reshape(-1, 1)
    data = ArrayDataset((images, np.arange(1_000, dtype=np.int32) % 4))
    seen = np.concatenate([x for x, _ in data.draws(jax.random.key(0), 100, 10)])
    assert len(np.unique(seen)) == 1_000

    def classify(x):
        return jax.nn.one_hot(x[:, 0].astype(int) % 4, 4)

    def mistaken(key, n):
        x, labels = data(key, n)
        return x, jnp.where(jnp.arange(n) < n // 2, labels, (labels + 1) % 4)

    judge = Features("own", lambda x: x, classify, (1,), {}, batch=100)
    found = feature_metrics(
        generator(mistaken), NOTHING, data, judge, names=("accuracy",), points=900
    )
    assert found["accuracy/own/points"] == 500
    assert found["accuracy/own/floor"] == 1
    assert found["accuracy/own"] == pytest.approx(0.5)


def test_the_cheap_measures_tell_near_from_far(key):
    one, other, *slices = jax.random.split(key, 5)
    real, fake = np.asarray(Ring()(one, 800)), np.asarray(Ring()(other, 800))
    near = cheap_sample_metrics(Ring(), fake, real, slices[0])
    far = cheap_sample_metrics(Ring(), 0.5 * fake, real, slices[1])
    assert near["modes/found"] == near["modes/total"] == 8
    assert far["modes/found"] == 0
    assert near["w1/sliced"] < 3 * near["w1/sliced_floor"] < far["w1/sliced"]
    assert "modes/found" not in cheap_sample_metrics(Digits(), fake, real, slices[2])


def test_the_scorecard_has_a_row_for_each_measure():
    result = {"w1/exact": 1.0, "w1/floor": 0.5}
    for name in MEASURES:
        result |= {f"{name}/lenet": 2.0, f"{name}/lenet/floor": 1.0, f"{name}/lenet/points": 5_000}
    lines = features_table(result).splitlines()
    assert [line.split()[0] for line in lines[1:]] == [f"{name}/lenet" for name in MEASURES]
    assert {line.split()[-1] for line in lines[1:3]} == {"lower"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    config = dataclasses.replace(
        load(ROOT / "configs" / "digits.py"),
        generator=MLP(features=(16,), output_shape=(8, 8, 1), output_activation="tanh"),
        critic=MLP(features=(16,)),
        steps=2,
        chunk=2,
        batch_size=16,
        tensorboard=False,
    )
    train(config, folder)
    weights = LeNet().init(jax.random.key(0), np.zeros((1, 8, 8, 1), np.float32))
    arrays = {k: np.asarray(v) for k, v in flatten_dict(weights, sep="/").items()}
    arrays["features/scale"] = np.asarray(0.1, np.float32)
    about = {"network": "lenet", "image": "8x8x1", "classes": "10", "accuracy": "0.1"}
    write_arrays(folder / "features-lenet.safetensors", arrays, about)
    return folder


def evaluate(capsys, *args):
    status = cli.run_command(main, ["evaluate", *map(str, args)])
    return status, capsys.readouterr()


@pytest.mark.filterwarnings("ignore")
def test_evaluate_measures_what_is_asked_for_and_keeps_the_rest(run, capsys):
    status, said = evaluate(capsys, run, "--metrics", "frechet,classifier", "--num", "300")
    assert status == 0
    assert "frechet/lenet" in said.out
    first = json.loads((run / "evaluation.json").read_text())
    assert {"step", "frechet/lenet", "frechet/lenet/floor", "classifier/lenet"} <= first.keys()
    assert "w1/exact" not in first
    file = run / "features-lenet.safetensors"
    args = ("--metrics", "coverage", "--num", "300", "--features", file)
    assert evaluate(capsys, run, *args)[0] == 0
    both = json.loads((run / "evaluation.json").read_text())
    assert both["frechet/lenet"] == first["frechet/lenet"]
    assert 0 <= both["coverage/lenet"] < both["coverage/lenet/floor"] <= 1


@pytest.mark.filterwarnings("ignore")
def test_evaluate_names_the_picture_of_its_step_only_if_there_is_one(run, tmp_path, capsys):
    for name, ignore in (("drawn", ""), ("stopped", "2.png")):
        folder = shutil.copytree(run, tmp_path / name, ignore=shutil.ignore_patterns(ignore))
        status, said = evaluate(capsys, folder, "--metrics", "frechet", "--num", "20")
        assert (status, "step               2" in said.out) == (0, True)
        assert (str(folder / "samples/2.png") in said.out) == (name == "drawn")


@pytest.mark.filterwarnings("ignore")
def test_evaluate_shows_nearest_training_images_on_screen_in_files_and_in_the_report(run, capsys):
    status, said = evaluate(capsys, run, "--metrics", "memorization", "--num", "200")
    assert status == 0
    assert "memorization       no sign of copying: samples are farther away" in said.out
    assert "(200 samples, 297 held-out, 1,500 training examples, on lenet)" in said.out
    assert f"nearest            {run / 'nearest.png'}" in said.out
    found = json.loads((run / "evaluation.json").read_text())
    assert found["data_copying/lenet"] < 0.4  # noise is far from everything
    assert found["data_copying/lenet/z"] > 3
    with Image.open(run / "nearest.png") as picture:
        assert min(picture.size) > 200
    page = (run / "report.html").read_text()
    assert "Copies of training data</h2>" in page
    assert "No sign of copying: samples are farther away" in page
    assert 'alt="Samples, each next to its nearest training images"' in page


@pytest.mark.filterwarnings("ignore")
def test_a_disk_that_is_full_does_not_cost_the_numbers(run, capsys, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    status, said = evaluate(capsys, run, "--metrics", "coverage", "--num", "300")
    assert status == 2
    assert (
        said.err == f"error: {run / 'evaluation.json'} cannot be written: No space left on device\n"
    )
    assert "coverage/lenet" in said.out


@pytest.mark.filterwarnings("ignore")
def test_a_workdir_that_cannot_be_written_is_refused_before_the_work(run, capsys, monkeypatch):
    def read_only(**_):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.TemporaryFile", read_only)
    status, said = evaluate(capsys, run, "--metrics", "coverage", "--num", "300")
    assert (status, said.out) == (2, "")
    assert said.err.endswith("evaluation.json cannot be written: Read-only file system\n")


@pytest.mark.filterwarnings("ignore")
def test_bad_evaluations_are_told_in_one_line(run, tmp_path, capsys):
    file = run / "features-lenet.safetensors"
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(file.read_bytes()[:-3] + b"xyz")
    for args, told in [
        ([run, "--metrics", "fid"], "unknown metric 'fid': choose from w1, modes, critic, frechet"),
        ([run, "--metrics", "modes"], "applies"),
        ([run, "--features", broken], "damaged"),
        ([run, "--features", file, "--sha256", "00"], "SHA-256"),
        ([run, "--features", tmp_path / "none.npz"], "none.npz cannot be read"),
        ([run, "--num", "many"], "--num"),
        ([tmp_path], "config"),
        ([], "one workdir"),
    ]:
        status, said = evaluate(capsys, *args)
        assert status == 2
        assert said.err.count("\n") == 1
        assert told in said.err
    out = tmp_path / "taken.npz"
    out.write_bytes(b"mine")
    for args, told in [
        (["digits", "--out", out], "--force"),
        (["digits"], "--out"),
        (["digits", "--out", "x.pkl"], ".safetensors"),
        (["nonesuch", "--out", "x.npz", "--data-dir", tmp_path], "not prepared"),
        ([], "one data set"),
    ]:
        assert cli.run_command(main, ["features", *map(str, args)]) == 2
        said = capsys.readouterr()
        assert said.err.count("\n") == 1
        assert told in said.err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_training_orders_the_measures_on_fashion_mnist(fashion_mnist, tmp_path):
    """Real against real < late < early, and the other way round for coverage."""
    config = load(ROOT / "configs" / "fashion_mnist_small.py")
    config = dataclasses.replace(
        config,
        dataset=dataclasses.replace(config.dataset, data_dir=str(fashion_mnist)),
        sample_every=1_000,
        checkpoint_every=1_000,
    )
    judge = features.default_features(config.dataset, tmp_path)
    assert float(judge.about["accuracy"]) > 0.88
    found = {}
    for steps in (40, 400):
        run = train(dataclasses.replace(config, steps=steps), tmp_path / "run")
        found[steps] = feature_metrics(run.gan, with_ema(run.state), run.data, judge, points=2_000)
    early, late = found[40], found[400]
    for name in ("frechet/lenet", "kernel/lenet"):
        assert late[f"{name}/floor"] < late[name] < early[name]
    for name in ("precision/lenet", "density/lenet", "coverage/lenet", "classifier/lenet"):
        assert late[f"{name}/floor"] > late[name] > early[name]
