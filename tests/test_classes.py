"""W1 within each class of a class-conditional run."""

import json

import jax
import numpy as np
import pytest
from test_arrays import train

from wgan_jax import estimate_w1
from wgan_jax.experiment.evaluation.classes import w1_by_class

pytestmark = [
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("few_points"),
    pytest.mark.once,
]


@pytest.fixture
def r():
    return np.random.default_rng(0)


def bounds(fake, real, label):
    w1 = estimate_w1(fake, real, key=jax.random.key(label), steps=100, cones=32, progress=False)
    return {"w1/value": w1.value, "w1/lower": w1.lower, "w1/upper": w1.upper}


def test_ignored_labels_are_far_within_each_class_and_near_together(r):
    labels = np.arange(1200, dtype=np.int32) % 2
    real = r.normal(size=(1200, 2)).astype(np.float32) + 6 * labels[:, None]
    fake = r.normal(size=(1200, 2)).astype(np.float32) + 6 * labels[:, None]
    ignored = w1_by_class((fake, r.permutation(labels)), (real, labels), ["cat", "a/b"], bounds)
    obeyed = w1_by_class((fake, labels), (real, labels), ["cat", "a/b"], bounds)
    for name in ("w1/class/cat", "w1/class/a_b"):
        assert ignored[f"{name}/lower"] > 3 > obeyed[f"{name}/upper"]
        for found in (ignored, obeyed):
            assert found[f"{name}/lower"] <= found[name] <= found[f"{name}/upper"]
    assert bounds(fake, real, 0)["w1/upper"] < 2


def test_small_classes_are_left_out_and_frequent_ones_come_first(r):
    labels = np.repeat(np.arange(30, dtype=np.int32), [63] + [100] * 20 + [200] * 9)
    pair = r.normal(size=(len(labels), 1)).astype(np.float32), labels
    measured = []
    zero = {"w1/value": 0.0, "w1/lower": 0.0, "w1/upper": 0.0}
    result = w1_by_class(pair, pair, (), lambda x, y, label: measured.append(label) or zero)
    assert measured == [*range(1, 12), *range(21, 30)]
    assert 64 <= result["w1/class/1/points"] <= 100
    assert "w1/class/0" not in result


def test_pairs_of_points_and_numbers_have_no_classes(r):
    pair = r.normal(size=(200, 2)), r.normal(size=(200, 1)).astype(np.float32)
    assert w1_by_class(pair, pair, (), bounds) == {}


def test_a_labelled_run_tells_w1_of_each_class_in_the_unit_of_the_data(tmp_path, capsys, r):
    x = r.normal(size=(800, 2)) * 1_000
    np.savez(tmp_path / "x.npz", x=x, y=np.array(["cat", "dog"])[np.arange(800) % 2])
    args = ["--dataset", "arrays", "--dataset.path", f"{tmp_path}/x.npz", "--dataset.key", "x"]
    args += ["--dataset.labels", "y", "--dataset.held-out", "0.5", "--steps", "2", "--chunk", "2"]
    assert train([*args, "--batch-size", "16", "--workdir", str(tmp_path / "run")]) == 0
    result = json.loads((tmp_path / "run/evaluation.json").read_text())
    for name in ("cat", "dog"):
        lower, value, upper = (result[f"w1/class/{name}{b}"] for b in ("/lower", "", "/upper"))
        assert 100 < lower <= value <= upper < 100_000
    assert "W1 by class" in capsys.readouterr().out
    report = (tmp_path / "run/report.html").read_text()
    assert "w1/class/dog" in report
