"""Data: every example once an epoch, images as they were written."""

import io

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wgan_jax.data.arrays import ArrayDataset, epoch_order
from wgan_jax.data.images import TFDS, Digits
from wgan_jax.data.pixels import decode
from wgan_jax.data.stream import TFDSStream
from wgan_jax.data.toy import Grid, Ring, SwissRoll
from wgan_jax.errors import UserError


@settings(max_examples=settings.default.max_examples // 25)  # each compiles
@given(size=st.integers(1, 40), data=st.data())
def test_an_epoch_visits_every_example_once(size, data):
    n = data.draw(st.integers(1, size))
    steps = -(-3 * size // n)
    order = jax.vmap(lambda s: epoch_order(jax.random.key(size), s, n, size))(np.arange(steps))
    order = np.asarray(order).reshape(-1)
    for epoch in range(3):
        assert sorted(order[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_the_order_is_exact_far_into_a_run():
    size, n, step = 1_797, 64, 2**27 + 3
    batch = np.asarray(epoch_order(jax.random.key(0), step, n, size))
    assert len(set(batch.tolist())) == n
    assert 0 <= batch.min() <= batch.max() < size


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match="5"):
        epoch_order(jax.random.key(0), 0, 5, 4)


def test_pixels_come_out_between_minus_one_and_one():
    data = ArrayDataset(np.array([0, 255], np.uint8))
    assert sorted(data.at(jax.random.key(0), 0, 2).tolist()) == [-1.0, 1.0]


@pytest.mark.parametrize(("toy", "modes"), [(Ring(), 8), (Grid(), 25)])
def test_mixtures_cover_their_modes_equally(toy, modes, key):
    x = np.asarray(toy(key, 20_000))
    nearest = np.linalg.norm(x[:, None] - toy.centers, axis=-1)
    counts = np.bincount(nearest.argmin(1), minlength=modes)
    assert abs(counts / 20_000 - 1 / modes).max() < 5 * np.sqrt(1 / modes / 20_000)
    spread = np.sqrt((nearest.min(1) ** 2).mean() / 2)
    np.testing.assert_allclose(spread, toy.std, rtol=0.03)


def test_the_swiss_roll_is_a_roll(key):
    x = 7.5 * np.asarray(SwissRoll()(key, 5_000))
    radius = np.linalg.norm(x, axis=1)
    assert 1.5 * np.pi - 1 < radius.min() < radius.max() < 4.5 * np.pi + 1


@pytest.mark.parametrize("bad", [{"modes": 0}, {"radius": -1.0}, {"std": 0.0}])
def test_impossible_toys_are_refused(bad):
    with pytest.raises(ValueError, match=next(iter(bad))):
        Ring(**bad)


def test_digits_need_no_download():
    images, labels = Digits(labels=True).open().examples
    assert images.shape == (1_500, 8, 8, 1)
    assert images.dtype == np.uint8
    assert set(labels.tolist()) == set(range(10))


def test_held_out_digits_are_the_others():
    train, test, everything = (
        Digits(split=split).open().examples for split in ("train", "test", "all")
    )
    assert np.array_equal(np.concatenate([train, test]), everything)
    assert np.array_equal(Digits().open_held_out().examples, test)


def encoded(pixels, form="png"):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return file.getvalue()


def test_small_images_are_padded_and_large_ones_cut_to_the_middle():
    small = np.full((28, 28), 200, np.uint8)
    out = decode(encoded(small), 32, 1)
    assert (out[2:30, 2:30, 0] == 200).all()
    assert out.sum() == 28 * 28 * 200
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = 255
    assert (decode(encoded(wide), 32, 3)[:, 2:-2] == 255).all()


@pytest.mark.parametrize("broken", [b"", b"no image", encoded(np.zeros((8, 8), np.uint8))[:40]])
def test_what_is_no_image_is_refused(broken):
    with pytest.raises(UserError):
        decode(broken, 8, 1)


@pytest.mark.filterwarnings("ignore")
def test_what_is_not_prepared_names_the_command_at_once(tmp_path):
    with pytest.raises(UserError, match="python -m wgan_jax prepare fashion_mnist --data-dir"):
        TFDS(data_dir=str(tmp_path)).open()
    with pytest.raises(UserError, match="tfds build lsun/bedroom"):
        TFDSStream(data_dir=str(tmp_path)).open()


@pytest.mark.filterwarnings("ignore")
def test_fashion_mnist_is_prepared_from_its_official_files(fashion_mnist):
    data = TFDS(name="fashion_mnist", split="test", labels=True, data_dir=str(fashion_mnist)).open()
    images, labels = data.examples
    assert images.shape == (10_000, 32, 32, 1)
    assert np.bincount(labels).tolist() == [1_000] * 10
    assert abs(images[:, 2:30, 2:30].mean() - 73.15) < 0.1


@pytest.mark.filterwarnings("ignore")
def test_files_that_are_not_the_official_ones_are_refused(tmp_path):
    from wgan_jax.data.prepare import prepare

    with pytest.raises(UserError, match="lacks"):
        prepare("fashion_mnist", data_dir=str(tmp_path / "a"), manual_dir=str(tmp_path))
    with pytest.raises(UserError, match="choose from mnist"):
        prepare("fashion", data_dir=str(tmp_path))
