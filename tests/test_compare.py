"""`compare` and `report` of several runs: which is closer to the data, and how certainly."""

import json
import shutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wgan_jax import estimate_w1
from wgan_jax.__main__ import main
from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.data.dataset import DatasetConfig
from wgan_jax.data.table import Table
from wgan_jax.errors import UserError
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.evaluation import comparison
from wgan_jax.experiment.evaluation.comparison import Candidate, Reference, compare, table
from wgan_jax.experiment.evaluation.features import Features
from wgan_jax.experiment.sampling.read_samples import as_written, read_samples
from wgan_jax.experiment.train import train
from wgan_jax.networks import MLP

pytestmark = pytest.mark.once

QUICK = {"steps": 10, "cones": 64, "transport_size": 64, "batch_size": 256}


def moved(by, n=600, seed=0):
    """Normal points of the plane, of which W1 to those that are not moved is `by`."""
    x = np.random.default_rng(seed).normal(size=(n, 2))
    return (x + np.array([by, 0.0])).astype(np.float32)


@pytest.fixture(scope="module")
def plane():
    rows = [Candidate(f"by {by}", moved(by, seed=i + 1)) for i, by in enumerate((1.0, 4.0, 4.1))]
    data = Reference(moved(0.0), "held-out data", "points", 1.0)
    return compare(rows, data, jax.random.key(0), **QUICK)


def test_bounds_hold_together_and_disjoint_ones_are_certified(plane):
    truths = (1.0, 4.0, 4.1)
    for truth, (_, e) in zip(truths, plane.rows, strict=True):
        assert e.lower <= truth <= e.upper
        assert e.confidence == pytest.approx(1 - 0.05 / 3)  # the risk is shared
    assert plane.nearer == [("by 1.0", "by 4.0"), ("by 1.0", "by 4.1")]
    text = table(plane)
    assert "by 1.0 is nearer to the data than by 4.0: certified" in text
    assert "no other difference is certified" in text
    assert "all bounds hold at once with 95% confidence" in text
    columns = [line.rfind("  ") for line in text.splitlines()[1:5]]
    assert len(set(columns)) == 1


def test_samples_that_cannot_be_compared_are_named():
    reference = Reference(moved(0.0), "held-out data", "points", 1.0)
    with pytest.raises(ValueError, match=r"at least 8 .* \(p is short.csv, q is points\)"):
        compare([Candidate("short.csv", moved(0.0, 3))], reference, jax.random.key(0))


def test_equal_laws_are_not_told_apart_and_training_data_are_told():
    data = ArrayDataset(moved(0.0))
    reference = Reference.of(data, "points", jax.random.key(0), 500)
    assert (len(reference.source), reference.kind) == (500, "training data")
    rows = [Candidate("a", moved(0.0, 500, 1)), Candidate("b", moved(0.0, 500, 2))]
    found = compare(rows, reference, jax.random.key(1), **QUICK)
    assert found.nearer == []
    assert all(e.lower == 0 for _, e in found.rows)
    assert "no difference is certified: the intervals overlap" in table(found)
    assert "none are held out from training" in table(found)


def test_features_give_the_space_and_its_name():
    length = Features("length", lambda x: jnp.sqrt((x**2).sum(1)), None, None, {})
    x = moved(0.0)
    data = Reference(x, "held-out data", "points", 7.0)
    rows = [Candidate("turned", x @ np.array([[0, 1], [-1, 0]], np.float32))]
    found = compare(rows, data, jax.random.key(0), features=length, **QUICK)
    assert found.rows[0][1].lower == 0
    assert "in features of length" in table(found)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(comparison, "estimate_w1", partial(estimate_w1, **QUICK))


def test_files_are_compared_in_the_unit_of_the_data(quick, tmp_path, capsys):
    np.save(tmp_path / "data.npy", 1000 * moved(0.0))
    np.savez(tmp_path / "near.npz", samples=1000 * moved(1.0, 500, 1), labels=np.zeros(500))
    np.save(tmp_path / "far.npy", 1000 * moved(5.0, 500, 2))
    outs = [str(tmp_path / f"out.{form}") for form in ("json", "png", "html")]
    files = [str(tmp_path / name) for name in ("near.npz", "far.npy")]
    args = [*files, "--data", str(tmp_path / "data.npy")]
    assert main(["compare", *args, *(word for out in outs for word in ("--out", out))]) == 0
    written = json.loads((tmp_path / "out.json").read_text())
    near, far = written["runs"]
    assert written["kind"] == "data"
    assert near["lower"] <= 1000 <= near["upper"] < far["lower"] <= 5000 <= far["upper"]
    out = capsys.readouterr().out
    assert "near.npz is nearer to the data than far.npy: certified" in out
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")
    assert "near.npz is nearer" in (tmp_path / "out.html").read_text()


def test_samples_of_another_shape_are_refused(runs, tmp_path):
    np.save(tmp_path / "solid.npy", np.zeros((50, 3)))
    with pytest.raises(UserError, match=r"holds samples of shape \(3,\), but the data have \(2,\)"):
        main(["compare", str(tmp_path / "solid.npy"), "--data", str(runs[0])])


def test_tables_are_matched_by_the_names_of_their_columns(quick, tmp_path):
    def write(name, x, order):
        lines = [",".join(order), *(",".join(f"{row[c]:.6f}" for c in order) for row in x)]
        (tmp_path / name).write_text("\n".join(lines))
        return str(tmp_path / name)

    def rows(by, seed):
        r = np.random.default_rng(seed)
        return [{"a": r.normal() + by, "b": 100 * r.normal()} for _ in range(400)]

    data = write("data.csv", rows(0.0, 0), "ab")
    near, far = write("near.csv", rows(0.0, 1), "ba"), write("far.csv", rows(4.0, 2), "ab")
    out = str(tmp_path / "out.json")
    assert main(["compare", near, far, "--data", data, "--out", out]) == 0
    close, apart = json.loads((tmp_path / "out.json").read_text())["runs"]
    assert close["lower"] == 0
    assert apart["lower"] <= 4.2  # each column counts in its own spread
    assert close["upper"] < apart["lower"]


def test_a_run_and_a_file_of_its_samples_are_as_far_from_a_table(quick, tmp_path):
    """A file holds whole categories and numbers, a network gives parts of them."""
    r = np.random.default_rng(0)
    rows = [f"{r.integers(0, 3)},{r.choice(['x', 'y', 'z'])}" for _ in range(300)]
    (tmp_path / "data.csv").write_text("\n".join(["count,kind", *rows]))
    config = Config(
        steps=1,
        batch_size=16,
        dataset=Table(path=str(tmp_path / "data.csv"), one_hot=("kind",), held_out=0.4),
        generator=MLP(features=(8,), output_shape=(4,)),
        critic=MLP(features=(8,)),
    )
    run, file = tmp_path / "run", tmp_path / "samples.csv"
    train(config, run)
    assert main(["sample", str(run), "--num", "400", "--out", str(file)]) == 0
    out = tmp_path / "out.json"
    assert main(["compare", str(run), str(file), "--out", str(out)]) == 0
    one, other = json.loads(out.read_text())["runs"]
    assert one["value"] == pytest.approx(other["value"], rel=0.2)


def test_samples_of_a_table_may_lack_values_that_the_data_have(tmp_path):
    """A rare category, and decimals: numbers may be whole by chance."""
    rows = ["x,kind,owner", "1.5,b,FALSE", "2.5,c,TRUE", "3,b,FALSE", "4,c,FALSE", "5,a,TRUE"]
    (tmp_path / "data.csv").write_text("\n".join(rows))
    config = Table(path=str(tmp_path / "data.csv"), one_hot=("kind",))
    data, file = config.open(), tmp_path / "samples.csv"
    for few in ([2, 4], [3, 3, 1], [5]):
        file.write_text("\n".join([rows[0], *(rows[i] for i in few)]))
        read = read_samples(file, config, data)
        np.testing.assert_array_equal(read, data.examples[np.array(few) - 1])
    for strange, told in (
        ("1.5,d,TRUE", "has 'd' in 'kind', a category that its run did not start with"),
        ("1.5,a,7", "has other columns than its run started with"),
    ):
        file.write_text(f"{rows[0]}\n{strange}")
        with pytest.raises(UserError, match=told):
            read_samples(file, config, data)


class Padded(DatasetConfig):
    native_size = 4


def test_images_without_the_margin_of_training_get_it_back(tmp_path):
    data = ArrayDataset(np.zeros((9, 6, 6, 1), np.uint8))
    images = np.random.default_rng(0).uniform(-1, 1, (5, 6, 6, 1)).astype(np.float32)
    np.save(tmp_path / "samples.npy", images[:, 1:5, 1:5])
    read = read_samples(tmp_path / "samples.npy", Padded(), data)
    np.testing.assert_array_equal(read, as_written(images, Padded(), data))
    assert (read[:, 0] == -1).all()
    np.testing.assert_array_equal(read[:, 1:5, 1:5], images[:, 1:5, 1:5])


def test_images_of_integers_are_refused(tmp_path):
    data = ArrayDataset(np.zeros((9, 6, 6, 1), np.uint8))
    np.save(tmp_path / "pixels.npy", np.zeros((5, 6, 6, 1), np.uint8))
    with pytest.raises(UserError, match=r"images of uint8, .* in \[-1, 1\]: .* x / 127.5 - 1"):
        read_samples(tmp_path / "pixels.npy", DatasetConfig(), data)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of two steps on a ring, and its copy."""
    folder = tmp_path_factory.mktemp("runs")
    small = MLP(features=(8,), output_shape=(2,)), MLP(features=(8,))
    config = Config(
        steps=2, batch_size=16, generator=small[0], critic=small[1], evaluate_every=1000
    )
    train(config, folder / "one")
    shutil.copytree(folder / "one", folder / "two")
    return folder / "one", folder / "two"


def test_runs_are_compared_with_fresh_draws_and_their_own_samples(quick, runs, tmp_path, capsys):
    one = str(runs[0])
    file = str(tmp_path / "samples.csv")
    assert main(["sample", one, "--num", "500", "--out", file]) == 0
    out = str(tmp_path / "out.json")
    assert main(["compare", one, file, "--num", "4096", "--out", out]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    run, samples = found["runs"]
    assert found["kind"] == "fresh draws"
    assert (run["step"], samples["step"]) == (2, None)
    assert max(run["lower"], samples["lower"]) <= min(run["upper"], samples["upper"])
    assert found["nearer"] == []
    assert "\none " in capsys.readouterr().out


def test_runs_on_different_data_are_refused_in_one_line(runs, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(runs[1], other)
    config = json.loads((other / "config.json").read_text())
    config["dataset"]["std"] = 0.5
    (other / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"trained on different data .*std") as error:
        main(["compare", str(runs[0]), str(other)])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "takes workdirs and files of samples, got none"),
        (["nowhere"], "no workdir or file of samples 'nowhere'"),
        (["a.npy"], "files of samples need --data"),
        (["a.npy", "./a.npy"], "each run once, got a.npy twice"),
        (["a.npy", "--out", "x.txt"], r"x.txt should end in .json, .png, .html"),
        (["a.npy", "--confidence", "95"], "number between 0 and 1, got '95'"),
        (["a.npy", "--num", "3"], "--num takes a whole number from 16"),
        (["a.npy", "--scaling", "clean-fid"], "--scaling requires --features FILE"),
        (["a.npy", "--sha256", "00"], "--sha256 requires --features FILE"),
        (["."], "config"),
    ],
)
def test_what_cannot_be_compared_is_refused(args, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("a.npy", moved(0.0))
    with pytest.raises(UserError, match=message):
        main(["compare", *args])


def test_a_report_of_several_runs_lays_their_curves_over_each_other(runs, tmp_path):
    out = tmp_path / "both.html"
    for i, workdir in enumerate(runs):
        lines = [{"step": step, "w1/sliced": i + 1 / step, "critic/loss": i} for step in (1, 2)]
        (workdir / "metrics.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert main(["report", *map(str, runs), "--out", str(out)]) == 0
    text = out.read_text()
    assert "<h1>2 runs compared</h1>" in text
    legend = '<span class="key a">one</span><span class="key b">two</span>'
    assert text.count(legend) == 2
    assert "w1/sliced" in text
    with pytest.raises(UserError, match="needs --out"):
        main(["report", *map(str, runs)])
    with pytest.raises(UserError, match="takes 2 to 5 workdirs, got 1"):
        main(["report", str(runs[0]), "--out", str(out)])
