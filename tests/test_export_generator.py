"""`export`: the generator of a run, used without this package installed."""

import csv
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from test_sample import checkpointed

from wgan_jax import MLP
from wgan_jax.__main__ import main
from wgan_jax.cli import run_command
from wgan_jax.cli.flags import load
from wgan_jax.data.images import TFDS
from wgan_jax.data.own_arrays import Arrays
from wgan_jax.data.units import ArrayUnits
from wgan_jax.experiment.config import Clip, Config
from wgan_jax.experiment.sampling.sampler import SampleSpec, open_sampler
from wgan_jax.experiment.schema import save_schema
from wgan_jax.experiment.train import train
from wgan_jax.latents import Uniform
from wgan_jax.networks import DCGANCritic, DCGANGenerator
from wgan_jax.types import from_linen

PAGE = (Path(__file__).parents[1] / "docs/exporting.md").read_text()
PROGRAM, WEIGHTS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SMALL = Config(
    generator=MLP(features=(4,), output_shape=(2,)),
    critic=MLP(features=(4,)),
    clip=Clip(c=0.1),
    batch_size=8,
    n_critic=1,
    steps=2,
    ema_decay=0.5,
)
ELSEWHERE = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("wgan_jax", "flax", "optax", "orbax"):
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Blocked())
"""


def network_of(folder, weights=None):
    """The trained generator as this package applies it, and its sampler."""
    sampler = open_sampler(load(folder / "config.json"), folder, SampleSpec(weights=weights))
    params, stats, _ = sampler.state.generator
    network = from_linen(sampler.config.generator)
    return lambda z: jax.tree.leaves(network.apply(params, stats, z, train=False)[0])[0], sampler


def exported(folder, out, *more):
    assert run_command(main, ["export", str(folder), "--out", str(out), *more]) == 0
    with open(out, "rb") as file:
        program = jax.export.deserialize(bytearray(file.read()))
    return program, json.loads(out.with_suffix(".json").read_text())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ring"
    train(SMALL, folder)
    return folder


def test_the_program_of_the_docs_runs_without_this_package(run, tmp_path):
    program, about = exported(run, tmp_path / "generator.jax")
    assert program.platforms == ("cpu", "cuda", "tpu")
    assert about["step"] == 2
    assert about["weights"] == "averaged"
    assert about["inputs"] == [
        {"name": "noise", "shape": ["n", 100], "dtype": "float32", "draw": "standard normal"}
    ]
    script = f"{ELSEWHERE}{PROGRAM}\nnp.savez('out.npz', noise=noise, samples=samples)"
    script += "\nassert not {'wgan_jax', 'flax'} & sys.modules.keys()"
    done = [sys.executable, "-c", script]
    subprocess.run(done, cwd=tmp_path, check=True, timeout=300)
    with np.load(tmp_path / "out.npz") as file:
        noise, samples = file["noise"], file["samples"]
    assert samples.shape == (16, 2)
    generate, _ = network_of(run)
    np.testing.assert_allclose(samples, generate(noise), rtol=1e-5, atol=1e-6)
    last, _ = network_of(run, "raw")
    raw, about = exported(run, tmp_path / "raw.jax", "--weights", "raw")
    assert about["weights"] == "raw"
    np.testing.assert_allclose(raw.call(noise), last(noise), rtol=1e-5, atol=1e-6)
    assert not np.allclose(raw.call(noise), samples, rtol=1e-5)


def test_the_weights_of_the_docs_make_the_same_samples(tmp_path, monkeypatch):
    digits = checkpointed(load("digits"), tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    assert run_command(main, ["export", str(digits), "--out", "generator.safetensors"]) == 0
    noise = np.random.default_rng(0).standard_normal((3, 32), np.float32)
    names = {"noise": noise}
    exec(WEIGHTS, names)
    generate, _ = network_of(digits)
    np.testing.assert_allclose(names["samples"], generate(noise), rtol=1e-6)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A run on a table with a label, and with conditions of both kinds."""
    folder = tmp_path_factory.mktemp("table")
    r = np.random.default_rng(0)
    with open(folder / "t.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["energy", "kind", "x", "age", "smokes", "city", "place"])
        for i in range(60):
            energy, age = 10 * int(r.integers(1, 10)), int(r.integers(18, 90))
            x, city = 1e4 * r.normal(), ["Bonn", "Köln", "Kyiv"][i % 3]
            writer.writerow([energy, "ab"[i % 2], x, age, i % 5 < 2, city, ["far", "near"][i % 2]])
    args = f"train --dataset table --dataset.path {folder}/t.csv --dataset.label place --steps 1"
    args += " --dataset.condition energy kind --dataset.one-hot kind city --batch-size 8"
    args += f" --generator.features 8 --critic.features 8 --workdir {folder}/run"
    with pytest.MonkeyPatch.context() as patch, jax.numpy_dtype_promotion("standard"):
        patch.setattr("wgan_jax.cli.evaluate.summarize_run", lambda *_: None)
        assert run_command(main, args.split()) == 0
    return folder / "run"


def test_a_table_comes_out_in_its_units_for_conditions_in_theirs(table, tmp_path):
    program, about = exported(table, tmp_path / "t.jax")
    noise, label, condition = about["inputs"]
    assert label["class_names"] == ["far", "near"]
    assert label["class_counts"] == [30, 30]
    assert [(c["name"], c["kind"]) for c in condition["columns"]] == [
        ("energy", "integer"),
        ("kind", "category"),
    ]
    r = np.random.default_rng(0)
    z = r.standard_normal((50, noise["shape"][1]), np.float32)
    labels = r.integers(0, 2, 50, np.int32)
    kinds = np.eye(2, dtype=np.float32)[r.integers(0, 2, 50)]
    given = np.concatenate([r.uniform(10, 90, (50, 1)).astype(np.float32), kinds], 1)
    samples = np.asarray(program.call(z, labels, given))
    generate, sampler = network_of(table)
    columns = sampler.schema.conditions.columns
    encoded = columns.encode({"energy": given[:, 0], "kind": kinds.argmax(1)})
    expected = sampler.schema.columns({"samples": np.asarray(generate((z, (labels, encoded))))})
    names = [column["name"] for column in about["output"]["columns"]]
    assert names == list(expected)
    by_name = dict(zip(names, samples.T, strict=True))
    np.testing.assert_allclose(by_name["x"], expected["x"], rtol=1e-4, atol=0.1)
    assert np.abs(by_name["age"] - expected["age"]).max() <= 1
    assert np.mean(by_name["age"] == expected["age"]) > 0.9
    (values,) = (c["values"] for c in about["output"]["columns"] if c["name"] == "city")
    assert [values[int(i)] for i in by_name["city"]] == list(expected["city"])
    assert set(by_name["smokes"]) <= {0.0, 1.0}


def test_arrays_come_out_in_their_units(tmp_path):
    r = np.random.default_rng(0)
    np.save(tmp_path / "a.npy", r.integers(0, 200, (40, 3), np.uint8))
    config = dataclasses.replace(
        SMALL,
        dataset=Arrays(path=str(tmp_path / "a.npy")),
        generator=MLP(features=(4,), output_shape=(3,)),
    )
    folder = checkpointed(config, tmp_path / "run")
    save_schema(config.dataset.open(), None, folder, 0)
    program, about = exported(folder, tmp_path / "a.jax")
    z = r.standard_normal((20, 100), np.float32)
    samples = np.asarray(program.call(z))
    assert samples.dtype == np.uint8
    assert [column["name"] for column in about["output"]["columns"]] == ["x0", "x1", "x2"]
    generate, sampler = network_of(folder)
    expected = sampler.schema.units.to_units(np.asarray(generate(z)))
    np.testing.assert_allclose(samples.astype(int), expected.astype(int), atol=1)


@pytest.mark.parametrize("dtype", ["bool", "int16", "int32", "uint32", "int64", "float64"])
@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 1, 3)])
def test_a_program_has_the_units_of_arrays_of_any_dtype(dtype, shape):
    channels = shape[-1] if len(shape) == 3 else 1
    units = ArrayUnits((20.0,) * channels, (1e4,) * channels, dtype, shape)
    x = np.random.default_rng(0).normal(0, 5, (9, *units.example_shape)).astype(np.float32)
    x[0], x[1] = 1e7, -1e7
    decoded, expected = np.asarray(units.decode_traced(x)), units.to_units(x)
    assert decoded.shape == expected.shape
    wide = {"int64": "float32", "float64": "float32"}
    assert decoded.dtype == wide.get(dtype, dtype)
    np.testing.assert_allclose(decoded.astype(float), expected.astype(float), rtol=1e-6, atol=1)
    if len(shape) == 1:
        np.testing.assert_allclose(units.encode_traced(20 + 1e4 * x), x, rtol=1e-5, atol=1e-2)


def test_images_have_their_own_size_and_uniform_noise_is_named(tmp_path):
    config = Config(
        dataset=TFDS(name="fashion_mnist", data_dir="/nowhere"),
        generator=DCGANGenerator(image_size=32, channels=1, filters=2),
        critic=DCGANCritic(image_size=32, channels=1, filters=2),
        latent=Uniform(dim=6),
        batch_size=4,
    )
    folder = checkpointed(config, tmp_path / "run")
    program, about = exported(folder, tmp_path / "g.jax")
    assert about["inputs"][0]["draw"] == "uniform from -1 to 1"
    assert about["output"]["shape"] == ["n", 28, 28, 1]
    z = np.random.default_rng(0).uniform(-1, 1, (3, 6)).astype(np.float32)
    generate, _ = network_of(folder)
    images = np.asarray(program.call(z))
    np.testing.assert_allclose(images, generate(z)[:, 2:30, 2:30], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ([], "needs --out FILE with .jax or .safetensors"),
        (["--out", "g.onnx"], "should end in .jax or .safetensors"),
        (["--out", "taken.jax"], "taken.json exists"),
        (["--out", "g.jax", "--weights", "best"], "ema or raw"),
        (["--out", "g.jax", "--member", "0"], "leave --member out"),
        (["--out", "g.jax", "--wieghts", "raw"], "did you mean --weights?"),
    ],
)
def test_what_cannot_be_exported_is_told_in_one_line(
    args, told, run, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("taken.json").touch()
    assert run_command(main, ["export", str(run), *args]) == 2
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["taken.json"]
