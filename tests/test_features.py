"""Feature networks: compared with PyTorch, loaded from verified files, trained in seconds."""

import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

from wgan_jax.data.images import TFDS, Digits
from wgan_jax.errors import UserError
from wgan_jax.experiment.evaluation import features
from wgan_jax.experiment.evaluation.features import open_features, train_lenet
from wgan_jax.experiment.evaluation.weights import digest, read_arrays, write_arrays
from wgan_jax.networks.inception import Inception, inception_state, inception_variables
from wgan_jax.networks.inception_scaling import SCALINGS
from wgan_jax.networks.lenet import LeNet

GOLDEN = Path(__file__).parent / "golden"
sys.path.insert(0, str(GOLDEN))

from make_inception_golden import stream  # noqa: E402


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "inception.npz") as file:
        return {name: file[name] for name in file.files}


@pytest.fixture(scope="module")
def lenet(tmp_path_factory):
    """A file of features, hardly trained."""
    path = tmp_path_factory.mktemp("lenet") / "digits.safetensors"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(features, "_LEAST_STEPS", 60)
        patch.setattr(features, "_EPOCHS", 1)
        return path, train_lenet(Digits(labels=True), path)


def test_inception_has_the_parameters_of_the_port(golden):
    names = dict(line.split(" ", 1) for line in str(golden["names"]).splitlines())
    assert {name: str(shape) for name, shape in inception_state().items()} == names


def test_inception_is_the_graph_that_pytorch_computes(golden):
    state, images, _ = stream(inception_state())
    variables = inception_variables(state)
    as_they_are = jax.jit(Inception(scaling=None).apply)(variables, images.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(as_they_are, golden["features"], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_inception_scales_images_as_pytorch_does(golden):
    state, _, small = stream(inception_state())
    found = jax.jit(Inception().apply)(inception_variables(state), small.transpose(0, 2, 3, 1))
    np.testing.assert_allclose(found, golden["resized"], rtol=1e-3, atol=1e-3)


def scaled_by_pillow(x):
    """A channel [h, w] of levels, as Pillow scales floating point to Inception's size."""
    return np.asarray(Image.fromarray(x).resize((299, 299), Image.Resampling.BICUBIC))


def scaled_from_corners(x):
    """Output i lies at i size / 299 of a channel [h, w], between two pixels or beyond the last."""
    for axis in (0, 1):
        size = x.shape[axis]
        at = np.arange(299) * size / 299
        rows = np.moveaxis(x, axis, 0)
        columns = [np.interp(at, np.arange(size), rows[:, i]) for i in range(rows.shape[1])]
        x = np.moveaxis(np.stack(columns, 1), 0, axis)
    return x


@pytest.mark.parametrize(
    ("name", "scale"), [("clean-fid", scaled_by_pillow), ("tensorflow", scaled_from_corners)]
)
@pytest.mark.parametrize("shape", [(32, 32), (48, 64), (512, 400)])
def test_images_are_scaled_as_the_programs_for_the_fid_scale_saved_ones(name, scale, shape):
    levels = np.random.default_rng(0).integers(0, 256, (1, *shape, 2)).astype(np.float32)
    found = SCALINGS[name](levels / 127.5 - 1) * 128 + 128
    wanted = np.stack([scale(levels[0, :, :, channel]) for channel in range(2)], -1)
    np.testing.assert_allclose(found[0], wanted, atol=0.01)


@pytest.mark.parametrize("name", ["clean-fid", "tensorflow"])
def test_samples_are_judged_as_files_would_hold_them(name):
    x = np.linspace(-1.2, 1.2, 3 * 16 * 16, dtype=np.float32).reshape(1, 16, 16, 3)
    saved = np.round((np.clip(x, -1, 1) + 1) * 127.5).astype(np.uint8)
    reopened = saved.astype(np.float32) / 127.5 - 1
    np.testing.assert_allclose(SCALINGS[name](x), SCALINGS[name](reopened), atol=1e-4)


def test_the_scaling_is_part_of_the_name_of_features(lenet, tmp_path):
    state = {name: np.zeros(shape, np.float32) for name, shape in inception_state().items()}
    path = tmp_path / "inception.safetensors"
    write_arrays(path, state, {})
    names = [open_features(path, scaling=scaling).name for scaling in (None, *SCALINGS)]
    assert names == ["inception", "inception", "inception-clean-fid", "inception-tensorflow"]
    with pytest.raises(UserError, match="pytorch-fid, clean-fid, tensorflow"):
        open_features(path, scaling="bicubic")
    with pytest.raises(UserError, match="LeNet"):
        open_features(lenet[0], scaling="clean-fid")


def test_weights_of_other_shapes_are_told_by_name(tmp_path):
    state = {name: np.zeros(shape, np.float32) for name, shape in inception_state().items()}
    state["fc.weight"], state["Mixed_5b.branch1x1.bn.num_batches_tracked"] = np.ones(3), np.ones(1)
    inception_variables(state)
    broken = {**state, "Mixed_5b.branch1x1.conv.weight": np.zeros((64, 192, 3, 3))}
    with pytest.raises(ValueError, match=r"Mixed_5b.branch1x1.conv.weight should be \(64, 192, 1"):
        inception_variables(broken)
    del state["Conv2d_1a_3x3.bn.bias"]
    with pytest.raises(ValueError, match=r"Conv2d_1a_3x3.bn.bias should be \(32,\)"):
        inception_variables(state)
    path = tmp_path / "other.npz"
    write_arrays(path, {"a": np.ones(3, np.float32)}, {})
    with pytest.raises(UserError, match="no LeNet and no Inception"):
        open_features(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_files_of_arrays_are_checked(suffix, tmp_path):
    arrays = {"a/b": np.arange(6, dtype=np.float32).reshape(2, 3), "c": np.ones((), np.float32)}
    path = tmp_path / f"x{suffix}"
    write_arrays(path, arrays, {"network": "lenet"})
    found, about = read_arrays(path)
    assert about == {"network": "lenet", "sha256": digest(arrays)}
    assert digest(found) == digest(arrays)
    with pytest.raises(UserError, match="has the SHA-256"):
        read_arrays(path, "0" * 64)
    data = bytearray(path.read_bytes())
    data[data.index(arrays["a/b"].tobytes()) + 9] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(UserError, match=r"damaged|cannot|can be read"):
        read_arrays(path)


def test_files_that_could_run_code_or_carry_no_digest_are_refused(tmp_path):
    path = tmp_path / "x.npz"
    np.savez(path, a=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match="no arrays that can be read"):
        read_arrays(path, None)
    np.savez(path, a=np.ones(2))
    with pytest.raises(UserError, match="--sha256") as told:
        read_arrays(path)
    named = str(told.value).rpartition("is ")[2].rstrip(")")
    assert list(read_arrays(path, named.upper())[0]) == ["a"]
    for bad in (tmp_path / "none.npz", tmp_path / "x.pkl", tmp_path):
        with pytest.raises(UserError):
            read_arrays(bad)


def test_a_file_of_features_gives_the_features_that_were_trained(lenet):
    path, made = lenet
    images, labels = Digits(split="test", labels=True).open().examples
    images = (images / 127.5 - 1).astype(np.float32)
    again = open_features(path)
    np.testing.assert_array_equal(again.apply(images), made.apply(images))
    assert again.image == (8, 8, 1)
    classes = np.asarray(again.classify(images))
    right = (classes.argmax(1) == labels).mean()
    assert right == pytest.approx(float(again.about["accuracy"]), abs=1e-4)
    assert right > 0.6
    np.testing.assert_allclose(classes.sum(1), 1, rtol=1e-5)
    assert 0.5 < np.square(again.apply(images)).mean() < 2


def test_a_file_of_features_of_other_shapes_is_refused(lenet, tmp_path):
    arrays, about = read_arrays(lenet[0])
    write_arrays(tmp_path / "wide.npz", arrays, {**about, "image": "32x32x1"})
    with pytest.raises(UserError, match="Dense_0"):
        open_features(tmp_path / "wide.npz")


def test_lenet_refuses_what_is_no_image():
    with pytest.raises(ValueError, match="at least 4 x 4"):
        LeNet().init(jax.random.key(0), np.ones((2, 3, 3, 1), np.float32))


def test_features_of_a_data_set_are_kept_beside_it_where_that_can_be_written(tmp_path):
    there = TFDS(name="fashion_mnist", data_dir=str(tmp_path))
    kept = features._cache_path(there, tmp_path / "run")
    assert kept == tmp_path / "wgan_jax_features" / "fashion_mnist-32x1-lenet.safetensors"
    assert features._cache_path(Digits(), tmp_path / "run").parent == tmp_path / "run"
    nowhere = TFDS(name="fashion_mnist", data_dir=str(tmp_path / "nowhere"))
    assert features._cache_path(nowhere, tmp_path / "run").parent == tmp_path / "run"


@pytest.mark.slow
def test_digits_are_told_apart(tmp_path):
    made = train_lenet(Digits(labels=True), tmp_path / "x.npz")
    assert float(made.about["accuracy"]) > 0.92
    assert json.loads(json.dumps(made.about)) == made.about
