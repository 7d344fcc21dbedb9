"""`sample`: reproducible by seed, written completely or not at all, any number."""

import csv
import dataclasses
import shutil
from types import SimpleNamespace

import jax
import numpy as np
import pytest
from archives import arrays_of
from PIL import Image

from wgan_jax import cli
from wgan_jax.__main__ import main
from wgan_jax.data.columns import Column, Columns
from wgan_jax.data.images import TFDS, Digits
from wgan_jax.data.table import Table
from wgan_jax.data.units import TableUnits
from wgan_jax.errors import UserError
from wgan_jax.experiment.build import build_gan, sample_struct
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.config import Clip, Config
from wgan_jax.experiment.sampling import sample_files
from wgan_jax.experiment.sampling.sampler import SampleSpec, open_sampler
from wgan_jax.experiment.schema import Schema
from wgan_jax.experiment.train import train
from wgan_jax.experiment.workdir import reserve_workdir
from wgan_jax.latents import Normal, Uniform
from wgan_jax.networks import MLP
from wgan_jax.transforms.ema import with_ema

CONDITIONAL = Config(
    dataset=Digits(labels=True),
    generator=MLP(features=(16,), output_shape=(8, 8, 1), output_activation="tanh", num_classes=10),
    critic=MLP(features=(16,), num_classes=10),
    clip=Clip(c=0.05),
    latent=Normal(dim=8),
    batch_size=16,
    n_critic=1,
    steps=4,
    chunk=2,
    ema_decay=0.5,
)


def checkpointed(config, folder):
    """A workdir with an untrained checkpoint; no data are opened."""
    gan = build_gan(config)
    struct = sample_struct(config, config.batch_size)
    real = jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), struct)
    folder.mkdir(parents=True, exist_ok=True)
    reserve_workdir(folder, config)
    Checkpoints(folder / "checkpoints").save(1, gan.init(jax.random.key(0), real))
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "digits"
    return folder, train(CONDITIONAL, folder)


@pytest.fixture(scope="module")
def padded(tmp_path_factory):
    config = dataclasses.replace(
        CONDITIONAL,
        dataset=TFDS(name="fashion_mnist", data_dir="/nowhere"),
        generator=MLP(features=(8,), output_shape=(32, 32, 1)),
        critic=MLP(features=(8,)),
        ema_decay=0.0,
    )
    return checkpointed(config, tmp_path_factory.mktemp("runs") / "fashion")


def sample(folder, *args):
    return main(["sample", str(folder), *map(str, args)])


@pytest.fixture(scope="module")
def sampler(run):
    return open_sampler(CONDITIONAL, run[0], SampleSpec())


def drawn(sampler, **wish):
    blocks = list(dataclasses.replace(sampler, spec=SampleSpec(**wish)).blocks())
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


@pytest.mark.filterwarnings("ignore")
def test_blocks_follow_each_other_and_seeds_repeat(run, sampler, tmp_path):
    folder, done = run
    a, b, c = (drawn(sampler, num=n, seed=s) for n, s in ((507, 3), (502, 3), (7, 4)))
    assert a["samples"].shape == (507, 8, 8, 1)
    np.testing.assert_array_equal(a["samples"][:502], b["samples"])
    np.testing.assert_array_equal(a["labels"][:502], b["labels"])
    assert (a["samples"][:7] != c["samples"]).any()
    key = jax.random.fold_in(jax.random.key(3), 0)
    images, labels = done.gan.generate(with_ema(done.state), key, 500)
    np.testing.assert_array_equal(a["samples"][:500], images)
    np.testing.assert_array_equal(a["labels"][:500], labels)
    out = tmp_path / "a.npz"
    assert sample(folder, "--num", 507, "--seed", 3, "--out", out) == 0
    with np.load(out, allow_pickle=False) as file:
        assert file["samples"].dtype == np.float32
        for name, array in a.items():
            np.testing.assert_array_equal(file[name], array)


def test_weights_labels_and_truncation_are_chosen(run, sampler):
    _, done = run
    ema = drawn(sampler, num=20)["samples"]
    raw = open_sampler(CONDITIONAL, run[0], SampleSpec(num=20, weights="raw"))
    raw = next(raw.blocks())["samples"]
    assert (raw != ema).any()
    key = jax.random.fold_in(jax.random.key(0), 0)
    np.testing.assert_array_equal(raw, done.gan.generate(done.state, key, 500)[0][:20])
    assert set(drawn(sampler, num=20, label=3)["labels"]) == {3}
    near = drawn(sampler, num=20, truncation=1e-6)
    for label in set(near["labels"].tolist()):  # one latent, one picture a class
        assert np.ptp(near["samples"][near["labels"] == label], axis=0).max() < 1e-4


def test_pictures_and_folders(sampler, tmp_path):
    def write(num, path, folder=False):
        blocks = dataclasses.replace(sampler, spec=SampleSpec(num=num)).blocks()
        sample_files.write_samples(blocks, num, path, folder=folder)

    write(9, tmp_path / "grid.png")
    with Image.open(tmp_path / "grid.png") as grid:
        assert grid.size[0] == grid.size[1] >= 256
    many = tmp_path / "many"
    write(12, many, folder=True)
    assert len(list(many.glob("*.png"))) == 12
    (many / "mine.png").write_bytes(b"mine")
    write(3, many, folder=True)
    names = sorted(path.name for path in many.iterdir())
    assert len(names) == 4
    assert names[-1] == "mine.png"
    three = drawn(sampler, num=3)
    for i, (image, label) in enumerate(zip(three["samples"], three["labels"], strict=True)):
        with Image.open(many / f"{i:06}-label-{label}.png") as picture:
            assert np.abs(np.asarray(picture) / 127.5 - 1 - image[..., 0]).max() <= 0.51 / 127.5
    assert sorted(path.name for path in tmp_path.iterdir()) == ["grid.png", "many"]


@pytest.mark.parametrize("form", [".npy", ".npz"])
@pytest.mark.filterwarnings("error")
def test_columns_may_have_names_in_any_script(form, tmp_path):
    columns = Columns((Column("gelir (₺)"), Column("città", "integer", low=0.0, high=9.0)))
    schema = Schema(TableUnits(columns), conditions=TableUnits(Columns((Column("年齢"),))))
    block = {"samples": np.ones((3, 2), np.float32), "conditions": np.ones((3, 1), np.float32)}
    path = tmp_path / f"a{form}"
    sample_files.write_samples(iter([block, block]), 6, path, folder=False, schema=schema)
    written = np.load(path)
    rows = written["samples"] if form == ".npz" else written
    assert rows.dtype.names == ("gelir (₺)", "città")
    assert rows["città"].tolist() == [1] * 6
    asked = written["conditions"] if form == ".npz" else np.load(tmp_path / "a-conditions.npy")
    assert asked["年齢"].tolist() == [1.0] * 6


@pytest.mark.parametrize("delimiter", [",", "\n", "\r", "\r\n", '"', ";", "\u2028"])
def test_a_csv_holds_a_row_for_each_sample_whatever_its_texts(tmp_path, delimiter):
    texts = ("plain", f"a{delimiter}b")
    columns = Columns((Column("n"), Column("t", "category", values=texts)))
    block = {"samples": np.array([[4, 1, 0], [5, 0, 1]], np.float32)}
    path, schema = tmp_path / "a.csv", Schema(TableUnits(columns))
    sample_files.write_samples(iter([block]), 2, path, folder=False, schema=schema)
    with open(path, newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [["n", "t"], ["4.0", "plain"], ["5.0", texts[1]]]
    assert path.read_bytes().startswith(b"n,t\n4.0,plain\n5.0,")
    assert Table(path=str(path), one_hot=("t",)).open().size == 2


def test_a_table_is_not_written_to_a_folder_of_its_name(tmp_path):
    blocks = iter([{"samples": np.zeros((2, 3), np.float32)}])
    with pytest.raises(UserError, match=r"not images, and .* is a folder; use \.csv, \.parquet"):
        sample_files.write_samples(blocks, 2, tmp_path, folder=True)


def test_a_failure_leaves_nothing_half(sampler, tmp_path):
    def broken():
        yield from dataclasses.replace(sampler, spec=SampleSpec(num=500)).blocks()
        raise OSError("no space left")

    for path, folder in ((tmp_path / "x.npz", False), (tmp_path / "x", True)):
        with pytest.raises(UserError, match="no space left"):
            sample_files.write_samples(broken(), 600, path, folder=folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore")
def test_walks_go_from_latent_to_latent(run, sampler, tmp_path):
    walks = list(dataclasses.replace(sampler, spec=SampleSpec(num=3)).interpolate(5, tour=False))
    for suffix in (".npz", ".png"):
        sample_files.write_walks(walks, tmp_path / f"walk{suffix}")
    walk = arrays_of(tmp_path / "walk.npz")
    assert walk["samples"].shape == (3, 5, 8, 8, 1)
    assert walk["labels"].shape == (3,)
    steps = np.abs(np.diff(walk["samples"], axis=1)).mean((0, 2, 3, 4))
    whole = np.abs(walk["samples"][:, -1] - walk["samples"][:, 0]).mean()
    assert (steps > 0).all()
    assert steps.max() < 0.75 * whole
    with Image.open(tmp_path / "walk.png") as grid:
        assert grid.size[0] * 3 == grid.size[1] * 5
    for suffix in (".gif", ".apng"):
        out = tmp_path / f"walk{suffix}"
        assert sample(run[0], "--interpolate", 5, "--num", 3, "--label", 2, "--out", out) == 0
        with Image.open(out) as moving:
            assert moving.n_frames == 4 * 5


def test_latents_between_others():
    a, b = np.random.default_rng(0).normal(size=(2, 6, 50)).astype(np.float32)
    t = np.full(6, 0.5, np.float32)
    for ends, wanted in ((np.zeros(6, np.float32), a), (np.ones(6, np.float32), b)):
        np.testing.assert_allclose(Normal(dim=50).interpolate(a, b, ends), wanted, atol=1e-5)
        np.testing.assert_allclose(Uniform(dim=50).interpolate(a, b, ends), wanted, atol=1e-6)
    middle = np.linalg.norm(Normal(dim=50).interpolate(a, b, t), axis=1)
    sides = [np.linalg.norm(x, axis=1) for x in (a, b)]
    assert (middle > 0.9 * np.minimum(*sides)).all()
    np.testing.assert_allclose(Normal(dim=50).interpolate(a, a, t), a, rtol=1e-5)


def test_no_interpolated_latent_is_longer_than_the_longer_end():
    """Neither where the ends are nearly opposite, nor where one of them is zero."""
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, 5_000, 2)).astype(np.float32)
    a[0], a[1], b[1] = 0.0, (1.0, 0.0), (-3.0, 0.01)
    t = random.random(5_000, np.float32)
    lengths = np.linalg.norm(Normal(dim=2).interpolate(a, b, t), axis=1)
    longer = np.maximum(*(np.linalg.norm(x, axis=1) for x in (a, b)))
    assert (lengths <= longer * (1 + 1e-5)).all()


def test_truncated_latents_stay_within_their_bound(key):
    one, other, third = jax.random.split(key, 3)
    for latent, its in ((Normal(dim=20), one), (Uniform(dim=20), other)):
        z = np.asarray(latent.truncated(its, 500, 0.5))
        assert 0.45 < np.abs(z).max() <= 0.5
    assert np.abs(Uniform(dim=20).truncated(third, 500, 3.0)).max() <= 1


@pytest.mark.filterwarnings("ignore")
def test_padded_images_come_out_at_their_own_size_without_the_data(padded, tmp_path):
    assert sample(padded, "--num", 5, "--out", tmp_path / "x.npz") == 0
    assert arrays_of(tmp_path / "x.npz")["samples"].shape == (5, 28, 28, 1)
    assert sample(padded, "--num", 2, "--out", f"{tmp_path}/x/") == 0
    with Image.open(tmp_path / "x" / "000001.png") as picture:
        assert picture.size == (28, 28)


BAD = [
    ([], "--out"),
    (["--out", "x.jpg"], ".png"),
    (["--out", "x.gif"], "--interpolate"),
    (["--out", "folder/", "--interpolate", "4"], "not a folder"),
    (["--out", "taken.npz"], "--force"),
    (["--out", "x.png", "--weights", "best"], "ema or raw"),
    (["--out", "x.png", "--label", "10"], "0 to 9"),
    (["--out", "x.png", "--truncation", "0"], "positive"),
    (["--out", "x.png", "--truncation", "much"], "much"),
    (["--out", "x.png", "--num", "0"], "--num"),
    (["--out", "x.png", "--interpolate", "1"], "--interpolate"),
    (["--out", "x.png", "--num", "4294967295"], "65,536"),
    (["--out", "x.npz", "--num", "4294967295", "--interpolate", "8"], "65,536"),
    (["--out", "x.gif", "--interpolate", "4294967295"], "65,536"),
    (["--out", "x.png", "--labels", "1"], "did you mean --label"),
]


@pytest.mark.parametrize(("args", "told"), BAD, ids=lambda x: "_".join(x) or "none")
def test_bad_wishes_are_told_in_one_line(args, told, run, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.npz").write_bytes(b"mine")
    assert cli.run_command(main, ["sample", str(run[0]), *args]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1
    assert told in said.err
    assert (tmp_path / "taken.npz").read_bytes() == b"mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["taken.npz"]


@pytest.mark.parametrize("form", [".npy", ".npz"])
def test_arrays_that_the_disk_cannot_hold_are_refused_before_they_are_drawn(
    form, run, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10**9))
    args = ["sample", str(run[0]), "--out", str(tmp_path / f"x{form}"), "--num", "4294967295"]
    assert cli.run_command(main, args) == 2
    assert "its disk has 1,000,000,000 left" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_what_a_run_does_not_have_is_told(padded, tmp_path, capsys):
    for folder, args, told in [
        (padded, ["--label", "1"], "not conditional"),
        (padded, ["--weights", "ema"], "keeps no average"),
        (tmp_path, [], "config"),
    ]:
        out = str(tmp_path / "x.npz")
        assert cli.run_command(main, ["sample", str(folder), *args, "--out", out]) == 2
        assert told in capsys.readouterr().err
    reserve_workdir(tmp_path, CONDITIONAL)
    assert cli.run_command(main, ["sample", str(tmp_path), "--out", str(tmp_path / "x.npz")]) == 2
    assert "no checkpoint" in capsys.readouterr().err
