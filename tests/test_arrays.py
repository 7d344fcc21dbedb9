"""User-supplied arrays: read, trained on, and sampled in their own units."""

import json
import os
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wgan_jax.__main__ import main
from wgan_jax.cli.flags import load
from wgan_jax.data import Arrays
from wgan_jax.data.arrays import to_unit_range
from wgan_jax.data.units import from_json
from wgan_jax.errors import UserError
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.evaluation import transport
from wgan_jax.experiment.run import open_run
from wgan_jax.networks import MLP

pytestmark = [pytest.mark.usefixtures("few_points"), pytest.mark.once]


@pytest.fixture
def r():
    return np.random.default_rng(0)


def save(path, array):
    np.save(path, array)
    return str(path)


def train(args):
    from wgan_jax.cli.common import run_command
    from wgan_jax.cli.train import train as command

    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        return run_command(command, args)


@pytest.mark.parametrize(
    "dtype", ["float64", "float32", "float16", "int64", "uint16", "int8", "bool"]
)
@pytest.mark.parametrize("standardize", ["common", "columns", "none"])
def test_points_of_any_type_come_back_as_they_were(tmp_path, r, dtype, standardize):
    x = (r.normal(size=(50, 3)) * [1, 9, 25] + 50).astype(dtype)
    opened = Arrays(path=save(tmp_path / "x.npy", x), standardize=standardize).open()
    examples = np.asarray(opened.examples)
    assert examples.dtype == np.float32
    assert examples.shape == (50, 3)
    back = opened.units.to_units(examples)
    assert back.dtype == x.dtype
    np.testing.assert_allclose(
        back.astype(float), x.astype(float), rtol=2e-3 if dtype == "float16" else 1e-5
    )
    if standardize != "none" and dtype != "bool":
        np.testing.assert_allclose(examples.mean(0), 0, atol=1e-5)
        assert examples.var(0).mean() == pytest.approx(1, rel=1e-4)


def test_distances_keep_their_proportions_under_one_scale(tmp_path, r):
    x = r.normal(size=(50, 3)) * [1, 10, 100] + 7
    opened = Arrays(path=save(tmp_path / "x.npy", x)).open()
    examples = np.asarray(opened.examples)
    far = np.linalg.norm(x[1:] - x[:-1], axis=1)
    scaled = np.linalg.norm(examples[1:] - examples[:-1], axis=1) * opened.units.scale
    np.testing.assert_allclose(scaled, far, rtol=1e-4)


@pytest.mark.parametrize(
    ("values", "bounds"),
    [
        (np.arange(64, dtype=np.uint8), ()),
        (np.arange(64) / 63, (0, 1)),
        (np.linspace(-1, 1, 64, dtype=np.float32), (-1, 1)),
        (np.arange(64, dtype=np.uint16) * 1_000, (0, 65_535)),
        (np.arange(64) % 2 == 0, ()),
    ],
)
@pytest.mark.parametrize("shape", [(1, 8, 8), (4, 4, 4, 1), (4, 4, 4)])
def test_images_come_back_as_they_were(tmp_path, values, bounds, shape):
    x = values.reshape(shape)
    opened = Arrays(path=save(tmp_path / "x.npy", x), value_range=bounds).open()
    assert opened.examples.ndim == 4
    images = np.asarray(to_unit_range(jnp.asarray(opened.examples)))
    assert images.dtype == np.float32
    assert images.min() >= -1
    assert images.max() <= 1
    back = opened.units.to_units(images)
    assert back.dtype == x.dtype
    assert back.shape == x.shape
    np.testing.assert_allclose(
        back.astype(float), x.astype(float), atol=1e-6 * (np.ptp(x.astype(float)) + 1)
    )


def test_uint8_images_stay_on_the_disk_until_they_are_needed(tmp_path):
    x = np.zeros((30, 8, 8, 3), np.uint8)
    opened = Arrays(path=save(tmp_path / "x.npy", x)).open()
    assert opened.examples.dtype == np.uint8
    assert not opened.examples.flags.owndata


def test_what_does_not_fit_on_the_device_is_streamed(tmp_path, r, monkeypatch):
    images = r.integers(0, 256, (60, 4, 4), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", x=images, y=np.arange(60) % 3, c=np.arange(60.0))
    config = Arrays(path=str(tmp_path / "a.npz"), key="x", labels="y", condition="c", held_out=0.2)
    resident = config.open()
    monkeypatch.setattr("wgan_jax.data.rows.device_room", lambda: 0)
    stream = config.open()
    assert stream.is_stream
    assert stream.size == resident.size
    assert stream.struct(5) == resident.struct(5)
    assert stream.fingerprint() == resident.fingerprint()
    assert stream.held_out().size == resident.held_out().size == 60 - stream.size
    np.testing.assert_array_equal(stream.class_labels(), resident.class_labels())
    x, (labels, conditions) = next(stream.batches(0, stream.size, 0))
    assert sorted(row.tobytes() for row in x) == sorted(
        np.asarray(row).tobytes() for row in resident.examples[0]
    )
    number = stream.condition_units.to_units(conditions)[:, 0].round().astype(int)
    np.testing.assert_array_equal(x[..., 0], images[number])
    np.testing.assert_array_equal(labels, number % 3)
    np.testing.assert_array_equal(config.condition_rows()[1], resident.examples[1][1])


@pytest.mark.parametrize("save_npz", [np.savez, np.savez_compressed])
def test_an_array_is_chosen_by_its_name(tmp_path, r, save_npz):
    x, y = r.normal(size=(20, 3)), r.integers(0, 4, 20)
    save_npz(tmp_path / "a.npz", x=x, y=y, f=np.asfortranarray(x))
    path = str(tmp_path / "a.npz")
    opened = Arrays(path=path, key="x", labels="y", standardize="none").open()
    np.testing.assert_array_equal(opened.examples[0], x.astype(np.float32))
    np.testing.assert_array_equal(opened.examples[1], y)
    by_columns = Arrays(path=path, key="f", standardize="none").open()
    np.testing.assert_array_equal(by_columns.examples, x.astype(np.float32))
    with pytest.raises(UserError, match=r"holds x, y, f: name one with --dataset\.key"):
        Arrays(path=path).open()
    with pytest.raises(UserError, match="no array 'xx'; did you mean x"):
        Arrays(path=path, key="xx").open()


def test_hdf5_is_read_by_path_and_never_followed_out_of_its_file(tmp_path, r):
    h5py = pytest.importorskip("h5py")
    x = r.normal(size=(20, 3))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["group/x"] = x
        file.create_dataset("packed", data=x, compression="gzip")
        file["names"] = np.array([b"a", b"b"] * 10)
        file["out"] = h5py.ExternalLink(str(tmp_path / "b.h5"), "secret")
        file["null"] = h5py.Empty("f8")
        file["bomb"] = h5py.SoftLink("/group/x")
        file.create_dataset("zeros", (2**16, 2**15), "f8", chunks=True, compression="gzip")
    path = str(tmp_path / "a.h5")
    for key in ("group/x", "/group/x", "packed"):
        opened = Arrays(path=path, key=key, standardize="none", labels="names").open()
        np.testing.assert_array_equal(opened.examples[0], x.astype(np.float32))
        assert opened.class_names == ("a", "b")
    refused = {"out": "no array 'out'", "zeros": "bomb", "null": "empty", None: "name one"}
    for key, message in refused.items():
        with pytest.raises(UserError, match=message):
            Arrays(path=path, key=key).open()


def test_arrays_are_read_whatever_else_is_in_or_about_their_file(tmp_path, r):
    x = r.normal(size=(6, 2))
    np.save(tmp_path / "x.npy", x)
    (tmp_path / "x.npy").rename(tmp_path / "X.NPY")
    with zipfile.ZipFile(tmp_path / "A.NPZ", "w") as archive:
        archive.writestr("readme.txt", "hello")
        with archive.open("x.npy", "w") as entry:
            np.lib.format.write_array(entry, x, version=(3, 0))
    for name in ("X.NPY", "A.NPZ"):
        opened = Arrays(path=str(tmp_path / name), standardize="none").open()
        np.testing.assert_array_equal(opened.examples, x.astype(np.float32))


def test_units_of_long_doubles_are_read_again(tmp_path, r):
    path = save(tmp_path / "x.npy", r.normal(size=(6, 2)).astype(np.longdouble))
    units = Arrays(path=path).open().units
    assert from_json(json.loads(json.dumps(units.to_json()))) == units


def test_labels_may_be_floats_beyond_whole_numbers(tmp_path, r):
    labels = save(tmp_path / "y.npy", np.array([1e300, 0.0, 0.0]))
    opened = Arrays(path=save(tmp_path / "x.npy", r.normal(size=(3, 2))), labels=labels).open()
    assert opened.class_names == ("0.0", "1e+300")
    labels = save(tmp_path / "y.npy", np.array([7, 2, 2], np.float16))
    assert Arrays(path=opened.config.path, labels=labels).open().class_names == ("2", "7")


def test_labels_in_bytes_that_are_not_utf8_stay_apart(tmp_path, r):
    words = save(tmp_path / "y.npy", np.array(["Köln".encode(), b"K\xf6ln", b"K\xe4ln"]))
    opened = Arrays(path=save(tmp_path / "x.npy", r.normal(size=(3, 2))), labels=words).open()
    assert opened.class_names == ("K\\xe4ln", "K\\xf6ln", "Köln")


@pytest.mark.parametrize("least", [10**6, 10**9, 2**40, 2**63])
def test_large_labels_are_numbered_like_words(tmp_path, r, least):
    labels = np.array([least + 7, 3, least + 7, least], np.uint64)
    path = save(tmp_path / "x.npy", r.normal(size=(4, 2)))
    opened = Arrays(path=path, labels=save(tmp_path / "y.npy", labels)).open()
    assert opened.class_names == ("3", str(least), str(least + 7))
    assert opened.class_labels().tolist() == [2, 0, 2, 1]
    assert opened.config.num_classes() == 3


def test_labels_that_are_no_integers_are_mapped_and_told(tmp_path, r, caplog):
    caplog.set_level("INFO")
    path = save(tmp_path / "x.npy", r.normal(size=(6, 2)))
    words = save(tmp_path / "w.npy", np.array(["dog", "cat", "dog", "ant", "ant", "dog"]))
    opened = Arrays(path=path, labels=words).open()
    assert opened.examples[1].tolist() == [2, 1, 2, 0, 0, 2]
    assert opened.class_names == ("ant", "cat", "dog")
    assert "0 is ant, 1 is cat, 2 is dog" in caplog.text
    halves = save(tmp_path / "h.npy", np.array([-1.0, 3.0, 3.0, -1.0, 3.0, 3.0]))
    opened = Arrays(path=path, labels=halves).open()
    assert opened.examples[1].tolist() == [0, 1, 1, 0, 1, 1]
    assert opened.class_names == ("-1", "3")


def test_equal_examples_are_on_one_side_and_the_parts_are_all(tmp_path, r):
    x = r.integers(0, 256, (400, 4, 4), dtype=np.uint8)
    x = np.concatenate([x, x])
    opened = Arrays(path=save(tmp_path / "x.npy", x), held_out=0.25).open()
    unseen = opened.held_out()
    assert 140 < unseen.size < 260
    assert opened.size + unseen.size == 800
    mine, others = ({row.tobytes() for row in np.asarray(d.examples)} for d in (opened, unseen))
    assert not mine & others
    assert len(mine) == opened.size / 2


class TestBadFiles:
    """Each is told in one line by name, before memory is taken for it."""

    @pytest.mark.parametrize(
        ("array", "options", "message"),
        [
            (np.where(np.arange(60).reshape(20, 3) == 9, np.nan, 1.0), {}, "1 of 20 rows: 3"),
            (np.full((20, 3), np.inf), {}, "20 of 20 rows: 0-9 and 10 more"),
            (np.zeros(20), {}, r"the shape \[20\]"),
            (np.zeros((2, 2, 2, 1, 1)), {}, "the shape"),
            (np.zeros((0, 3)), {}, "is empty"),
            (np.zeros((20, 3), complex), {}, "complex128"),
            (np.zeros((20, 3), "M8[s]"), {}, "datetime64"),
            (np.array([["a", "b"]]), {}, "<U1"),
            (np.zeros((20, 3, 8, 8), np.uint8), {}, r"\[n, c, h, w\]"),
            (np.zeros((20, 8, 8, 5), np.uint8), {}, "5 channels"),
            (np.random.default_rng(0).random((20, 8, 8)), {}, "--dataset.value-range 0 1"),
            (np.arange(1280, dtype=np.uint16).reshape(20, 8, 8), {}, "--dataset.value-range 0 655"),
            (np.full((20, 8, 8), 1.5), {"value_range": (0, 1)}, "out of the range 0 to 1"),
            (np.zeros((20, 3)), {"value_range": (0, 1)}, "for images"),
            (np.zeros((20, 3)), {"labels": "none.npy"}, "none.npy cannot be read"),
            (np.zeros((20, 3)), {"held_out": 1e-6}, "leaves 20 rows"),
        ],
    )
    def test_arrays(self, tmp_path, monkeypatch, array, options, message):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UserError, match=message):
            Arrays(path=save(tmp_path / "x.npy", array), **options).open()

    @pytest.mark.parametrize(
        ("labels", "message"),
        [
            (np.zeros(19, int), "20 examples, and .* 19 labels"),
            (np.zeros((20, 3)), "one-hot"),
            (np.arange(20) + np.nan, "NaN"),
            (np.array(["NaT"] * 20, "M8[D]"), "NaN"),
        ],
    )
    def test_labels(self, tmp_path, labels, message):
        path, other = (tmp_path / name for name in ("x.npy", "y.npy"))
        with pytest.raises(UserError, match=message):
            Arrays(path=save(path, np.ones((20, 3))), labels=save(other, labels)).open()

    def test_objects_are_never_unpickled(self, tmp_path):
        harm = np.array([os.system, "touch harm"], object)
        np.save(tmp_path / "x.npy", harm, allow_pickle=True)
        np.savez(tmp_path / "x.npz", x=harm)
        for name in ("x.npy", "x.npz"):
            with pytest.raises(UserError, match="Python objects, which are never loaded"):
                Arrays(path=str(tmp_path / name)).open()

    @pytest.mark.parametrize("cut", [0, 3, 60, 200])
    def test_a_file_that_ends_early(self, tmp_path, cut):
        path = tmp_path / "x.npy"
        np.save(path, np.ones((20, 3)))
        path.write_bytes(path.read_bytes()[:cut])
        with pytest.raises(UserError, match="holds no array that can be read"):
            Arrays(path=str(path)).open()

    def test_a_decompression_bomb(self, tmp_path):
        path = tmp_path / "x.npz"
        packed = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1)
        with packed as archive, archive.open("x.npy", "w") as entry:
            header = {"descr": "<f8", "fortran_order": False, "shape": (2**22, 9)}
            np.lib.format.write_array_header_1_0(entry, header)
            for _ in range(9):
                entry.write(bytes(2**25))
        assert path.stat().st_size < 2**21
        with pytest.raises(UserError, match="decompression bomb"):
            Arrays(path=str(path)).open()

    def test_a_claim_of_more_than_there_is(self, tmp_path):
        path = tmp_path / "x.npz"
        with zipfile.ZipFile(path, "w") as archive, archive.open("x.npy", "w") as entry:
            header = {"descr": "<f8", "fortran_order": False, "shape": (2**40, 9)}
            np.lib.format.write_array_header_1_0(entry, header)
            entry.write(bytes(100))
        with pytest.raises(UserError, match="though it says so"):
            Arrays(path=str(path)).open()

    @pytest.mark.parametrize("name", ["x.npy", "x.npz"])
    def test_a_pipe_is_not_waited_for(self, tmp_path, name):
        os.mkfifo(tmp_path / name)
        with pytest.raises(UserError, match="a pipe"):
            Arrays(path=str(tmp_path / name)).open()

    @pytest.mark.parametrize("path", ["", "x.txt", "none.npy", "none.npz"])
    def test_no_file(self, tmp_path, monkeypatch, path):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(UserError, match=r"dataset\.path|should end in|cannot be read"):
            Arrays(path=path).open()

    @pytest.mark.parametrize("option", ["labels", "condition"])
    def test_a_name_where_only_a_file_can_be_meant(self, tmp_path, r, option):
        path = save(tmp_path / "x.npy", r.normal(size=(20, 2)))
        with pytest.raises(UserError, match=rf"--dataset\.{option} energy .*such as energy\.npy"):
            Arrays(path=path, **{option: "energy"}).open()
        with pytest.raises(UserError, match=r"none\.npy cannot be read"):
            Arrays(path=path, **{option: "none.npy"}).open()

    def test_values_beyond_float32(self, tmp_path):
        path = save(tmp_path / "x.npy", np.array([[1e300, 1.0], [2e300, 2.0]]))
        with pytest.raises(UserError, match="beyond those of float32"):
            Arrays(path=path, standardize="none").open()


def test_w1_is_in_the_units_of_the_array(tmp_path, r):
    x = r.normal(size=(400, 3)) * [1, 2, 3]
    found = []
    for factor in (1.0, 1e6):
        path = save(tmp_path / f"{factor}.npy", factor * x + 5)
        config = Config(
            dataset=Arrays(path=path),
            generator=MLP(features=(8,), output_shape=(3,)),
            batch_size=16,
        )
        run = open_run(config, tmp_path / "run")
        found.append(transport.evaluate(config, run.gan, run.state, run.data))
    for name in ("w1/exact", "w1/floor", "w1/error"):
        if name in found[0]:
            assert found[1][name] == pytest.approx(1e6 * found[0][name], rel=1e-3)
    assert found[1]["w1/ratio"] == pytest.approx(found[0]["w1/ratio"], rel=1e-3)


def test_labelled_images_are_trained_and_sampled_as_they_came(tmp_path, r, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wgan_jax.cli.evaluate.summarize_run", lambda run, folder: None)
    images = r.integers(0, 256, (200, 6, 6), dtype=np.uint8)
    np.savez("own.npz", pictures=images, kinds=np.array(["cat", "dog"] * 100))
    args = [
        *("--dataset", "arrays", "--dataset.path", "own.npz", "--dataset.key", "pictures"),
        *("--dataset.labels", "kinds", "--dataset.held-out", "0.2", "--generator.features", "8"),
        *("--critic.features", "8", "--batch-size", "16", "--n-critic", "1", "--chunk", "2"),
        *("--workdir", "run"),
    ]
    assert train([*args, "--steps", "2"]) == 0
    assert "0 is cat, 1 is dog" in capsys.readouterr().out
    config = load("run/config.json")
    assert config.generator.output_shape == (6, 6, 1)
    assert config.generator.num_classes == config.critic.num_classes == 2
    assert json.loads((tmp_path / "run/schema.json").read_text())["class_names"] == ["cat", "dog"]
    assert main(["sample", "run", "--num", "9", "--out", "s.npy", "--label", "1"]) == 0
    samples = np.load("s.npy", allow_pickle=False)
    assert samples.dtype == np.uint8
    assert samples.shape == (9, 6, 6)
    assert np.load("s-labels.npy", allow_pickle=False).tolist() == [1] * 9
    with pytest.raises(UserError, match=r"do not fit a table; use \.npy or \.npz"):
        main(["sample", "run", "--num", "9", "--out", "s.csv"])
