"""Labels of fakes have the frequencies of the data, in training and in samples."""

import contextlib
import io
import json
import re
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from archives import arrays_of
from small_sets import encoded, write

from wgan_jax import MLP, DCGANGenerator, ResNetGenerator, cli, latents
from wgan_jax.__main__ import main
from wgan_jax.data.images import TFDS
from wgan_jax.data.labels import class_labels, count_classes
from wgan_jax.errors import UserError

pytestmark = pytest.mark.once

ROOT = Path(__file__).parents[1]


def train(capsys, *args):
    capsys.readouterr()
    status = cli.run_command(cli.train, [str(arg) for arg in args])
    output = capsys.readouterr()
    return status, output.out + output.err


def sample(capsys, *args):
    capsys.readouterr()
    status = cli.run_command(lambda args: main(["sample", *args]), [str(arg) for arg in args])
    return status, capsys.readouterr().err


@pytest.mark.parametrize("counts", [(95, 5), (0, 1_900, 0, 100), (1,) * 7, (3, 0, 0, 1)])
def test_labels_have_the_frequencies_of_the_data(counts, key):
    latent = latents.Labelled(num_classes=len(counts), counts=counts)
    labels = np.asarray(latent(key, 20_000)[1])
    wanted = np.asarray(counts) / sum(counts)
    error = np.sqrt(wanted * (1 - wanted) / 20_000)
    assert (abs(np.bincount(labels, minlength=len(counts)) / 20_000 - wanted) <= 4.5 * error).all()


def test_labels_of_equal_classes_are_as_before(key):
    """Bitwise, so that runs on balanced data repeat."""
    alike = latents.Labelled(num_classes=10)
    for counts in [(6_000,) * 10, (1,) * 10]:
        counted = latents.Labelled(num_classes=10, counts=counts)
        for a, b in zip(alike(jax.random.clone(key), 500), counted(key, 500), strict=True):
            np.testing.assert_array_equal(a, b)
        key = jax.random.clone(key)
    uniform = jax.random.randint(jax.random.split(jax.random.clone(key))[1], (500,), 0, 10)
    np.testing.assert_array_equal(alike(key, 500)[1], uniform)


@pytest.mark.parametrize("counts", [(1, 2), (1, -1, 3), (0, 0, 0), (2**30, 2**30, 1)])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(ValueError, match="counts"):
        latents.Labelled(num_classes=3, counts=counts)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.5, 1.0], "float64"),
        (["cat", "dog"], "cat"),
        ([[0, 1], [1, 0]], r"\[2, 2\]"),
        ([0, -1, 2], "got -1"),
        ([0, 2**40], str(2**40)),
    ],
)
def test_labels_that_are_no_classes_are_refused(labels, message):
    with pytest.raises(UserError, match=message):
        class_labels(labels)


def test_labels_beyond_the_classes_are_refused():
    with pytest.raises(UserError, match="label 3, but num_classes is 3"):
        count_classes([0, 3], 3)
    with pytest.raises(UserError, match="no labels"):
        count_classes([], 3)


SIZES = ("--generator.features", "8", "--critic.features", "8", "--latent.dim", "4")
PLAYERS = (
    *("--generator", "mlp", "--critic", "mlp", *SIZES),
    *("--generator.output-shape", "8", "8", "1"),
    *("--dataset", "digits", "--dataset.labels"),
    *("--generator.num-classes", "12", "--critic.num-classes", "12"),
    *("--steps", "2", "--chunk", "2", "--n-critic", "1", "--batch-size", "16"),
)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory, few_points):
    """A run with twelve classes, two of which have no example, and what it printed."""
    folder, printed = tmp_path_factory.mktemp("sparse") / "run", io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        assert cli.run_command(cli.train, [*PLAYERS, "--workdir", str(folder)]) == 0
    return folder, printed.getvalue()


def test_classes_without_examples_are_told_and_never_drawn(sparse, tmp_path, capsys):
    folder, printed = sparse
    counts = json.loads((folder / "config.json").read_text())["class_counts"]
    assert len(counts) == 12
    assert sum(counts) == 1_500
    assert counts[10:] == [0, 0]
    assert "10 of 12 classes" in printed
    assert "none of class 10-11" in printed
    for how in ((), ("--truncation", "1.5")):
        out = tmp_path / f"{len(how)}.npz"
        assert sample(capsys, folder, "--num", "600", "--out", out, *how)[0] == 0
        assert set(arrays_of(out)["labels"]) == set(range(10))
    status, said = sample(capsys, folder, "--label", "11", "--out", tmp_path / "x.png")
    assert status == 2
    assert "no example of class 11" in said
    assert "0-9" in said
    assert sample(capsys, folder, "--label", "9", "--out", tmp_path / "y.png")[0] == 0


def test_runs_that_saved_no_frequencies_still_open(sparse, tmp_path, capsys):
    folder, _ = sparse
    saved = json.loads((folder / "config.json").read_text())
    del saved["class_counts"]
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    (old / "config.json").write_text(json.dumps(saved))
    assert sample(capsys, old, "--num", "600", "--out", tmp_path / "old.npz")[0] == 0
    assert set(arrays_of(tmp_path / "old.npz")["labels"]) == set(range(12))
    assert train(capsys, *PLAYERS, "--workdir", old, "--steps", "4")[0] == 0
    assert json.loads((old / "config.json").read_text())["class_counts"][10:] == [0, 0]


@pytest.mark.filterwarnings("ignore")
def test_a_rare_class_is_as_rare_among_the_fakes(tmp_path, capsys, few_points):
    """The labels are those of the records: nine of class 3 in ten, one of class 7."""
    images = [encoded(np.full((32, 32, 3), 6 * i, np.uint8)) for i in range(40)]
    write(tmp_path / "data", "cifar10", images, labels=[3] * 36 + [7] * 4)
    dataset = TFDS(name="cifar10", channels=3, labels=True, data_dir=str(tmp_path / "data"))
    assert count_classes(dataset.open().examples[1], 10) == (0, 0, 0, 36, 0, 0, 0, 4, 0, 0)
    args = [
        *("--generator", "mlp", "--critic", "mlp", *SIZES),
        *("--generator.output-shape", "32", "32", "3"),
        *("--dataset", "tfds", "--dataset.name", "cifar10", "--dataset.channels", "3"),
        *("--dataset.labels", "--dataset.data-dir", tmp_path / "data"),
        *("--generator.num-classes", "10", "--critic.num-classes", "10"),
        *("--steps", "1", "--chunk", "1", "--n-critic", "1", "--batch-size", "8"),
        *("--workdir", tmp_path / "run"),
    ]
    assert train(capsys, *args)[0] == 0
    (tmp_path / "data").rename(tmp_path / "gone")
    out = tmp_path / "out.npz"
    assert sample(capsys, tmp_path / "run", "--num", "1000", "--out", out)[0] == 0
    labels = arrays_of(out)["labels"]
    assert set(labels) == {3, 7}
    assert abs((labels == 7).mean() - 0.1) < 0.05


@pytest.mark.parametrize("latent_dim", [16, 100])
@pytest.mark.parametrize("network", ["MLP", "DCGAN", "ResNet"])
def test_noise_rather_than_labels_varies_the_samples_of_an_untrained_generator(
    network, latent_dim, key
):
    """A label that counts as much as the noise is learned first, and the noise is ignored."""
    size = {"image_size": 16, "channels": 1, "filters": 8, "num_classes": 10}
    generator = {
        "MLP": lambda: MLP(features=(64, 64), output_shape=(16, 16, 1), num_classes=10),
        "DCGAN": lambda: DCGANGenerator(**size),
        "ResNet": lambda: ResNetGenerator(**size),
    }[network]()
    on_noise, on_weights = jax.random.split(key)
    labels = jnp.tile(jnp.arange(10), 50)
    z = jax.random.normal(on_noise, (500, latent_dim)), labels
    samples = generator.init_with_output(on_weights, z, train=True)[0][0]
    by_class = samples.reshape(50, 10, -1)
    between = by_class.mean(0).var(0).mean()
    assert between < 0.25 * by_class.var(0).mean()


@pytest.mark.slow
def test_a_conditional_gan_draws_more_than_one_digit_for_each_class(tmp_path, capsys):
    """Exact W1 is 3.6 when each class is one picture, and 2.6 between parts of the data."""
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        status, output = train(
            capsys,
            *("--config", ROOT / "configs/digits_conditional.py", "--workdir", tmp_path / "run"),
            *("--objective", "jensen-shannon", "--penalty", "none", "--critic.norm", "batch"),
            *("--n-critic", 1, "--latent.dim", 100),
            *("--generator-optimizer.b1", 0.5, "--critic-optimizer.b1", 0.5),
        )
    assert status == 0, output
    assert float(re.search(r"exact W1 +([\d.]+)", output)[1]) < 3.1


def test_a_number_is_no_position_among_classes_named_by_numbers(tmp_path, capsys, monkeypatch):
    """Classes 0, 3 and 7 of a table: 1 is none of them, though one is the first counted from 0."""
    monkeypatch.setattr("wgan_jax.cli.evaluate.summarize_run", lambda run, folder: None)
    rows = [f"{i % 5},{(0, 3, 7)[i % 3]}" for i in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["x,kind", *rows]))
    where = ["--dataset", "table", "--dataset.path", tmp_path / "a.csv", "--dataset.label", "kind"]
    small = ["--generator.features", "8", "--critic.features", "8", "--n-critic", "1"]
    run = ["--workdir", tmp_path / "run", "--steps", "1", "--batch-size", "8"]
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        status, said = train(capsys, *where, *small, *run)
    assert status == 0, said
    for name, known in {"7": True, "3": True, "1": False, "2": False, "03": False}.items():
        out = tmp_path / f"{name}.csv"
        status, said = sample(capsys, tmp_path / "run", "--label", name, "--num", "4", "--out", out)
        assert status == (0 if known else 2), said
        if known:
            lines = out.read_text().splitlines()
            assert [line.rpartition(",")[2] for line in lines] == ["kind", *[name] * 4]
        else:
            assert f"there is no class '{name}'" in said
