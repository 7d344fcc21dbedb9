"""Tests that detect copies of training data, whose statistics have the stated distribution."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.data.images import Digits
from wgan_jax.data.own_arrays import Arrays
from wgan_jax.data.toy import Ring
from wgan_jax.experiment.evaluation import memorization as module
from wgan_jax.experiment.evaluation.features import Features
from wgan_jax.experiment.evaluation.memorization import memorization
from wgan_jax.experiment.evaluation.summary import summarize
from wgan_jax.gan import GAN
from wgan_jax.metrics import Neighbors, data_copying, nearest_membership, nearest_neighbors
from wgan_jax.types import GANState, Player, Step

pytestmark = pytest.mark.once


@pytest.mark.parametrize(("d", "offset"), [(2, 0.0), (16, 1e3), (40, 0.0), (40, 30.0), (3, 1e25)])
def test_nearest_neighbors_are_those_of_all_pairs(d, offset):
    rng = np.random.default_rng(d)
    y = (rng.normal(size=(300, d)) * max(1, offset / 100) + offset).astype(np.float32)
    x = np.concatenate([y[7:9], (y[:40] + y[40:80]) / 2])
    found = nearest_neighbors(x, y, k=3)
    every = cdist(x.astype(np.float64), y.astype(np.float64))
    least = np.sort(every, 1)[:, :3]
    np.testing.assert_allclose(found.distances, least, rtol=1e-3, atol=1e-5 * every.max())
    np.testing.assert_allclose(np.take_along_axis(every, np.asarray(found.indices), 1), least, 1e-3)
    assert found.indices[:2, 0].tolist() == [7, 8]
    assert found.distances[:2, 0].tolist() == [0, 0]


def test_nearest_neighbors_can_be_traced_and_refuse_what_does_not_fit():
    x, y = jnp.zeros((2, 3)), jnp.ones((4, 3))
    found = jax.jit(lambda x, y: nearest_neighbors(x, y, k=4))(x, y)
    assert found.distances.shape == found.indices.shape == (2, 4)
    assert sorted(found.indices[0].tolist()) == [0, 1, 2, 3]
    for bad in [(x, y[:, :2]), (x[0], y), (x, jnp.full((4, 3), jnp.nan)), (x, y.astype(int))]:
        with pytest.raises(ValueError, match="nearest_neighbors"):
            nearest_neighbors(*bad)
    with pytest.raises(ValueError, match="k=5"):
        nearest_neighbors(x, y, k=5)


def test_the_statistics_have_their_distribution_where_nothing_is_copied():
    """Whatever the training data: they are the same ones throughout."""
    rng = np.random.default_rng(0)
    training = rng.normal(size=(50, 2))
    points = rng.normal(size=(400, 140, 2))
    distances = cdist(points.reshape(-1, 2), training).min(1).reshape(400, 140)
    found = [data_copying(x[:80], x[80:], quantile=0.05) for x in distances]
    z, p = (np.array([getattr(each, name) for each in found]) for name in ("z", "p_value"))
    assert stats.kstest(z, "norm").pvalue > 0.01
    for level in (0.5, 0.2, 0.05):
        assert (p <= level).mean() < level + 3 * (level / 400) ** 0.5
    near = np.array([each.near for each in found])
    assert near.mean() == pytest.approx(found[0].expected, abs=4 * near.std() / 20)


def test_the_statistics_are_those_of_mann_and_whitney_and_of_the_beta_binomial():
    rng = np.random.default_rng(1)
    for x, y in [(rng.normal(size=30), rng.normal(0.3, size=50)), rng.integers(0, 5, (2, 40))]:
        found = data_copying(x, y)
        test = stats.mannwhitneyu(x, y, use_continuity=False, method="asymptotic")
        assert found.nearer == pytest.approx(1 - test.statistic / (len(x) * len(y)))
        assert 2 * stats.norm.sf(abs(found.z)) == pytest.approx(test.pvalue)
    held_out = np.arange(1.0, 201.0)
    samples = np.concatenate([np.full(9, 1.5), np.full(11, 300.0)])
    found = data_copying(samples, held_out)
    assert (found.near, found.expected) == (9 / 20, 2 / 201)
    exact = stats.betabinom.sf(8, 20, 2, 199)
    assert found.p_value == pytest.approx(exact)
    same = data_copying(np.zeros(10), np.zeros(12))
    assert (same.nearer, same.z, same.near, same.p_value) == (0.5, 0, 0, 1)


def test_membership_has_its_distribution_however_bad_the_samples_are():
    """Over divisions of the same data; samples are blurred, shifted and far from independent."""
    rng = np.random.default_rng(2)
    data = rng.normal(size=(130, 3))
    samples = np.repeat(0.3 * rng.normal(size=(80, 3)) + 0.5, 2, 0)
    distances, found = cdist(samples, data), []
    for _ in range(1_500):
        training, held_out = np.split(rng.permutation(130), [90])
        sides = (distances[:, side] for side in (training, held_out))
        nearest = (Neighbors(d.min(1)[:, None], d.argmin(1)[:, None]) for d in sides)
        found.append(nearest_membership(*nearest, (90, 40)))
    z = np.array([each.z for each in found])
    assert abs(z.mean()) < 4 / 1_500**0.5
    assert z.std() == pytest.approx(1, abs=4 / 3_000**0.5)
    assert found[0].expected == pytest.approx(4 / 13)
    assert np.mean([each.held_out for each in found]) == pytest.approx(4 / 13, abs=0.02)
    copies = nearest_neighbors(data[:90], data[:90]), nearest_neighbors(data[:90], data[90:])
    sure = nearest_membership(*copies, (90, 40))
    assert sure.held_out == 0
    assert sure.z < -5
    with pytest.raises(ValueError, match="90 and 40 samples"):
        nearest_membership(copies[0], Neighbors(*(x[:40] for x in copies[1])), (90, 40))


def test_distances_that_are_none_are_refused():
    for bad in [(np.ones(0), np.ones(3)), (np.ones((2, 2)), np.ones(3)), ([np.nan], [1.0])]:
        with pytest.raises(ValueError, match="data_copying"):
            data_copying(*bad)
    with pytest.raises(ValueError, match="quantile"):
        data_copying([1.0], [1.0], quantile=1.0)


def start(seed=0):
    nothing = Player({}, {}, ())
    return GANState(Step(np.int32(0), np.int32(0)), jax.random.key(seed), nothing, nothing)


def judged(generate, data, unseen, judge=None, **options):
    gan = GAN(None, None, None, None, lambda state, key, n: generate(key, n))
    return memorization(Digits(), gan, start(), data, unseen, judge, **options)


@pytest.fixture(scope="module")
def parts():
    """Training data, held-out data and fresh ones, of one distribution."""
    images = jax.random.randint(jax.random.key(2), (1_300, 8, 8, 1), 0, 256).astype(jnp.uint8)
    return [ArrayDataset(part) for part in jnp.split(images, [500, 900])]


def test_a_generator_that_copies_is_found_and_an_honest_one_is_not(parts):
    training, held_out, fresh = parts

    def a_few(key, n):
        rows = jnp.arange(n)[:, None, None, None]
        return jnp.where(rows < n // 20, training.at(key, 0, n), fresh.at(key, 0, n))

    said = {}
    for name, generate in [
        ("copies", training),
        ("a few", a_few),
        ("fresh", lambda key, n: fresh.at(key, 0, n)),
    ]:
        found, images = judged(generate, training, held_out, points=400)
        said[name] = found, summarize(found)
        assert images.samples.shape == (16, 8, 8, 1)
        assert images.examples.shape == (16, 3, 8, 8, 1)
        same = (images.samples == images.examples[:, 0]).all((1, 2, 3))
        assert same.sum() == {"copies": 16, "fresh": 0}.get(name, same.sum())
        if name == "a few":
            assert same[:8].all()
            assert not same[8:].all()
    found, words = said["copies"]
    assert found["data_copying/pixels"] == 1
    assert found["data_copying/pixels/z"] < -15
    assert "memorization       a sign of copying" in words
    found, words = said["a few"]
    assert found["data_copying/pixels/z"] > -3
    assert found["near_copies/pixels"] >= 0.05
    assert found["near_copies/pixels/p"] < 1e-4
    assert "a sign that some samples are copies (400 samples, 400 held-out, 500 tr" in words
    found, words = said["fresh"]
    assert abs(found["data_copying/pixels/z"]) < 3
    assert found["near_copies/pixels/p"] > 0.01
    assert abs(found["data_copying/pixels/floor"] - 0.5) < 0.1
    assert "no sign of copying" in words


def test_smooth_samples_are_no_copies(parts):
    """They are nearer to all data, also to those that nobody trained on."""
    training, held_out, fresh = parts

    def blurred(key, n):
        x = fresh.at(key, 0, n)
        return sum(jnp.roll(x, shift, (1, 2)) for shift in [(0, 0), (0, 1), (1, 0), (1, 1)]) / 4

    found, _ = judged(blurred, training, held_out, points=400)
    assert found["data_copying/pixels/z"] < -10
    assert abs(found["membership/pixels/z"]) < 2
    assert found["membership/pixels/floor"] == pytest.approx(4 / 9)
    assert "no sign of copying: samples are nearer, but to held-out data" in summarize(found)


def test_held_out_data_of_another_kind_make_no_copies_of_honest_samples(parts):
    training, held_out, fresh = parts
    other = ArrayDataset(255 * (held_out.examples // 128))
    found, _ = judged(lambda key, n: fresh.at(key, 0, n), training, other, points=400)
    assert found["data_copying/pixels/z"] < -3
    assert found["data_copying/pixels/floor"] > 0.6
    assert "no clear sign of copying: training data are as near" in summarize(found)
    found, _ = judged(training, training, other, points=400)
    assert "a sign of copying" in summarize(found)


def test_all_training_examples_are_searched_in_the_features_of_the_judge(parts, monkeypatch):
    training, held_out, fresh = parts
    judge = Features("own", lambda x: x.reshape(len(x), -1)[:, :40] ** 3, None, (8, 8, 1), {})

    def generate(key, n):
        return fresh.at(jax.random.key(3), 0, n)

    whole, images = judged(generate, training, held_out, judge, points=100)
    assert {"data_copying/own", "near_copies/own/p"} <= whole.keys()
    monkeypatch.setattr(module, "_ROWS", 64)  # the last of eight blocks has 52 rows
    blocks, same = judged(generate, training, held_out, judge, points=100)
    for name in ("data_copying/own", "near_copies/own", "data_copying/own/z"):
        assert blocks[name] == pytest.approx(whole[name], abs=1e-3)
    np.testing.assert_array_equal(images.examples[:8], same.examples[:8])
    seen = [
        np.asarray(judge.apply(x.astype(np.float32) / 127.5 - 1))
        for x in (images.samples, training.examples)
    ]
    nearest = np.asarray(training.examples)[cdist(*seen).argmin(1)]
    np.testing.assert_array_equal(images.examples[:, 0], nearest)


def test_a_stream_of_points_is_searched_to_its_end(tmp_path, monkeypatch):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(150, 3)))
    monkeypatch.setattr("wgan_jax.data.rows.device_room", lambda: 0)
    monkeypatch.setattr(module, "_ROWS", 32)
    config = Arrays(path=str(tmp_path / "x.npy"), held_out=0.2)
    data, unseen = config.open(), config.open_held_out()
    assert data.is_stream
    every = next(data.draws(jax.random.key(5), data.size, 1))
    gan = GAN(None, None, None, None, lambda state, key, n: every[:n])
    found, images = memorization(config, gan, start(), data, unseen, None, points=data.size)
    assert images is None
    assert found["memorization/training"] == data.size
    assert found["data_copying/points"] == 1
    assert found["near_copies/points"] == 1


def test_without_held_out_data_there_are_pictures_and_a_reason(parts):
    training, held_out, _ = parts
    for unseen, reason in [
        (None, "no statistic: no data are held out from training"),
        (ArrayDataset(held_out.examples[:5]), "only 5 examples are held out"),
    ]:
        found, images = judged(training, training, unseen, points=20)
        assert found["memorization/training"] == 500
        assert reason in summarize(found)
        assert not any("copies/" in name or "copying/" in name for name in found)
        np.testing.assert_array_equal(images.samples, images.examples[:, 0])
    assert judged(Ring(), Ring(), Ring()) == ({}, None)
    found, images = judged(lambda key, n: jnp.full((n, 8, 8, 1), jnp.nan), training, held_out)
    assert images is None
    assert "not finite" in summarize(found)
