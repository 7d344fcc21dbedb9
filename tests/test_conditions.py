"""Numeric conditions: networks take them, runs draw them jointly with the data."""

import csv
import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wgan_jax.__main__ import main
from wgan_jax.cli.flags import load
from wgan_jax.data import Arrays, Table
from wgan_jax.data.columns import Column, Columns
from wgan_jax.data.conditions import read_conditions
from wgan_jax.data.units import TableUnits, standardizing
from wgan_jax.errors import UserError
from wgan_jax.experiment.build import build_gan
from wgan_jax.experiment.config import Config
from wgan_jax.latents import Conditioned, Normal
from wgan_jax.lipschitz import lipschitz_bound
from wgan_jax.networks import MLP, DCGANCritic, DCGANGenerator, ResNetCritic, ResNetGenerator

pytestmark = pytest.mark.once

IMAGE = {"image_size": 8, "channels": 1, "filters": 2, "norm": "none"}
GENERATORS = {
    "mlp": MLP(features=(8,), output_shape=(8, 8, 1)),
    "dcgan": DCGANGenerator(**IMAGE),
    "resnet": ResNetGenerator(**IMAGE),
}
CRITICS = {
    "mlp": MLP(features=(8,)),
    "dcgan": DCGANCritic(**IMAGE),
    "resnet": ResNetCritic(**IMAGE),
}


def vectors(seed=0):
    return jax.random.normal(jax.random.key(seed), (4, 3))


@pytest.mark.parametrize("classes", [0, 5])
@pytest.mark.parametrize("name", GENERATORS)
def test_networks_take_vectors_with_and_without_labels(name, classes, key):
    on_z, on_generator, on_critic = jax.random.split(key, 3)
    fields = {"condition_dim": 3, "num_classes": classes}
    generator, critic = GENERATORS[name].copy(**fields), CRITICS[name].copy(**fields)
    label = jnp.array([0, 4, 2, 2])
    one, other = ((label, vectors(s)) if classes else vectors(s) for s in (0, 1))
    z = jax.random.normal(on_z, (4, 6))
    (x, condition), variables = generator.init_with_output(on_generator, (z, one))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), condition, one))
    moved, _ = generator.apply(variables, (z, other))
    assert x.shape == moved.shape == (4, 8, 8, 1)
    assert not np.allclose(x, moved)
    scores, variables = critic.init_with_output(on_critic, (x, one))
    assert scores.shape == (4,)
    assert not np.allclose(scores, critic.apply(variables, (x, other)))


@pytest.mark.parametrize("spectral_norm", [False, True])
@pytest.mark.parametrize("name", ["dcgan", "resnet"])
def test_a_critic_judges_an_image_by_its_vector(name, spectral_norm, key):
    """What a vector changes in the score of an image must not vanish next to the score itself."""
    on_x, on_weights = jax.random.split(key)
    fields = {"filters": 64, "condition_dim": 1, "spectral_norm": spectral_norm}
    critic = CRITICS[name].copy(**fields)
    x, ones = jax.random.normal(on_x, (64, 8, 8, 1)), jnp.ones((64, 1))
    variables = critic.init(on_weights, (x, ones))
    for _ in range(20 * spectral_norm):  # until the norms are those of the weights
        _, stats = critic.apply(variables, (x, ones), mutable=["spectral_stats"])
        variables = variables | stats
    one, other = (critic.apply(variables, (x, v), train=False) for v in (ones, -ones))
    assert (one - other).std() > 0.2 * one.std()


@pytest.mark.parametrize(
    "x",
    [
        jnp.ones((4, 2)),
        (jnp.ones((4, 2)), jnp.ones((4, 2))),
        (jnp.ones((4, 2)), jnp.ones((3, 3))),
        (jnp.ones((4, 2)), (jnp.zeros(4, int), jnp.ones((4, 3)))),
    ],
)
def test_conditions_of_another_kind_are_refused(x, key):
    with pytest.raises(ValueError, match=r"condition\[batch, 3\]|is not conditional"):
        jax.eval_shape(MLP(features=(8,), condition_dim=3).init, key, x)


def test_no_lipschitz_bound_is_told_of_a_critic_with_conditions():
    with pytest.raises(ValueError, match="condition_dim=3"):
        lipschitz_bound(MLP(condition_dim=3), {})


def test_conditions_of_fakes_are_those_of_the_data_together(key):
    labels = np.array([0] * 900 + [1] * 100, np.int32)
    rows = (labels, np.stack([labels * 10.0, np.arange(1_000)], 1).astype(np.float32))
    latent = Conditioned(noise=Normal(dim=2), rows=rows)
    z, (label, vector) = latent(key, 4_000)
    assert z.shape == (4_000, 2)
    assert np.array_equal(vector[:, 0], 10.0 * np.asarray(label))
    assert 0.07 < float((label == 1).mean()) < 0.13
    assert len(set(vector[:, 1].tolist())) > 900


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table whose first column is its condition: x = energy, in steps of 10."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wgan_jax.cli.evaluate.summarize_run", lambda run, folder: None)
    r = np.random.default_rng(0)
    with open("t.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["energy", "kind", "x", "place"])
        for i in range(300):
            energy = 10 * int(r.integers(1, 10))
            writer.writerow(
                [energy, "ab"[i % 2], energy + r.normal(), ["here", "there"][i % 3 > 0]]
            )
    return tmp_path


def train(args):
    from wgan_jax.cli import run_command
    from wgan_jax.cli import train as command

    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        return run_command(command, args)


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_conditional_table_is_sampled_for_the_conditions_asked_for(table, caplog):
    args = [
        *("--dataset", "table", "--dataset.path", "t.csv", "--dataset.condition", "energy", "kind"),
        *("--dataset.one-hot", "kind", "--dataset.label", "place", "--generator.features", "8"),
        *("--critic.features", "8", "--batch-size", "16", "--n-critic", "1", "--chunk", "2"),
        *("--workdir", "run", "--steps", "2"),
    ]
    assert train(args) == 0
    config = load("run/config.json")
    assert config.generator.condition_dim == config.critic.condition_dim == 3
    assert config.generator.num_classes == 2
    assert config.generator.output_shape == (1,)
    (table / "t.csv").rename(table / "away.csv")
    sample = ["sample", "run", "--seed", "3"]
    assert main([*sample, "--num", "600", "--out", "a.csv"]) == 0
    drawn = rows_of("a.csv")
    assert list(drawn[0]) == ["x", "place", "energy", "kind"]
    assert {row["energy"] for row in drawn} == {str(10 * i) for i in range(1, 10)}
    assert abs(np.mean([row["place"] == "there" for row in drawn]) - 2 / 3) < 0.1
    wanted = [*sample, "--num", "9", "--condition", "energy=55", "--condition=kind=b"]
    assert main([*wanted, "--label", "here", "--out", "b.csv"]) == 0
    chosen = rows_of("b.csv")
    assert {(r["energy"], r["kind"], r["place"]) for r in chosen} == {("55", "b", "here")}
    with open("c.csv", "w") as file:
        file.write("kind,place,energy\na,there,20\nb,here,31\na,here,40\n")
    assert main([*sample, "--conditions", "c.csv", "--out", "d.csv"]) == 0
    given = [(r["energy"], r["kind"], r["place"]) for r in rows_of("d.csv")]
    assert given == [("20", "a", "there"), ("31", "b", "here"), ("40", "a", "here")]
    assert "extrapolates" not in caplog.text
    assert main([*sample, "--condition", "energy=500", "--num", "3", "--out", "f.csv"]) == 0
    assert "energy is set to 500, but the data range from 10 to 90" in caplog.text
    assert {row["energy"] for row in rows_of("f.csv")} == {"500"}
    assert main([*sample, "--condition", "energy=55.3", "--num", "3", "--out", "g.csv"]) == 0
    assert {row["energy"] for row in rows_of("g.csv")} == {"55.3"}
    for wrong, message in (
        (["--condition", "energi=5"], "did you mean 'energy'"),
        (["--condition", "energy=warm"], "takes a number"),
        (["--condition", "kind=c"], "known: a, b"),
        (["--condition", "energy"], "NAME=VALUE"),
        (["--label", "nowhere"], "no class 'nowhere'"),
        (["--conditions", "none.csv"], "cannot be read"),
    ):
        with pytest.raises(UserError, match=message):
            main([*sample, *wrong, "--out", "e.csv"])


def test_names_and_values_of_conditions_may_hold_an_equals_sign(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("wgan_jax.cli.evaluate.summarize_run", lambda run, folder: None)
    (tmp_path / "t.csv").write_text("x,pay,pay=\n" + "1,<=50K,=1\n2,>50K,2\n" * 8)
    args = [
        *("--dataset", "table", "--dataset.path", "t.csv", "--dataset.condition", "pay", "pay="),
        *("--dataset.one-hot", "pay", "pay=", "--generator.features", "4", "--workdir", "run"),
        *("--critic.features", "4", "--batch-size", "8", "--n-critic", "1", "--steps", "1"),
    ]
    assert train(args) == 0
    for settings, drawn in (
        (["pay=<=50K", "pay===1"], {("<=50K", "=1")}),
        (["pay=>50K", "pay==2"], {(">50K", "2")}),
    ):
        wanted = [word for setting in settings for word in ("--condition", setting)]
        assert main(["sample", "run", "--num", "4", "--force", "--out", "s.csv", *wanted]) == 0
        assert {(row["pay"], row["pay="]) for row in rows_of("s.csv")} == drawn


def test_samples_are_read_without_the_categories_that_they_are_conditioned_on(table):
    names = {"one_hot": ("kind", "place"), "condition": ("energy", "kind"), "label": "place"}
    config = Table(path="t.csv", **names)
    table.joinpath("s.csv").write_text("x,place,energy,kind\n1.5,here,20,a\n2,there,30,b\n")
    assert config.open_samples("s.csv", config.open().units).size == 2


def test_an_array_of_conditions_goes_with_its_examples(tmp_path):
    r = np.random.default_rng(0)
    x, c = r.permutation(200).reshape(100, 2), 5 + 3 * r.normal(size=100)
    np.savez(tmp_path / "a.npz", x=x, c=c, short=c[:50], words=np.array(["a"] * 100))
    path = str(tmp_path / "a.npz")
    data = Arrays(path=path, key="x", condition="c", held_out=0.3).open()
    examples, conditions = data.examples
    assert conditions.shape == (data.size, 1)
    assert abs(conditions.mean()) < 1e-5
    back = data.condition_units.to_units(conditions)[:, 0]
    row = {tuple(p): value for p, value in zip(x.tolist(), c, strict=True)}
    mine = data.units.to_units(examples).tolist()
    np.testing.assert_allclose(back, [row[tuple(p)] for p in mine], rtol=1e-5)
    for name, message in (("short", "100 examples, and .* 50 rows"), ("words", "numbers")):
        with pytest.raises(UserError, match=message):
            Arrays(path=path, key="x", condition=name).open()


def test_points_and_energies_of_two_files_are_sampled_on_a_grid_of_energies(table, caplog):
    r = np.random.default_rng(0)
    energies = r.uniform(10, 100, 200)
    np.save("x.npy", energies[:, None] * r.normal(1, 0.1, (200, 2)))
    np.save("energies.npy", energies)
    args = ["--dataset", "arrays", "--dataset.path", "x.npy", "--dataset.condition", "energies.npy"]
    args += ["--generator.features", "8", "--critic.features", "8", "--batch-size", "16"]
    assert (
        train([*args, "--n-critic", "1", "--steps", "1", "--chunk", "1", "--workdir", "run"]) == 0
    )
    grid = np.repeat([20.0, 50.0], 3)
    np.save("grid.NPY", grid)
    table.joinpath("grid.NPY.npy").rename("grid.NPY")
    table.joinpath("grid.csv").write_text("E\n" + "\n".join(map(str, grid)))
    table.joinpath("named.csv").write_text("run,c0\n" + "\n".join(f"a,{e}" for e in grid))
    drawn = []
    for name in ("grid.NPY", "grid.csv", "named.csv"):
        sample = ["sample", "run", "--conditions", name, "--force", "--out"]
        assert main([*sample, "a.npy"]) == 0
        drawn.append(np.load("a.npy"))
        np.testing.assert_array_equal(np.load("a-conditions.npy")[:, 0], grid)
        np.testing.assert_array_equal(drawn[-1], drawn[0])
    assert main([*sample, "a.csv"]) == 0
    rows = np.array([[float(v) for v in row.values()] for row in rows_of("a.csv")])
    np.testing.assert_allclose(rows, np.column_stack([drawn[0], grid]), rtol=1e-6)
    assert "extrapolates" not in caplog.text
    assert main(["sample", "run", "--condition", "c0=1e4", "--out", "b.csv"]) == 0
    assert "c0 is set to 1e+04, but the data range from 1" in caplog.text
    table.joinpath("wrong.csv").write_text("E,F\n1,2\n")
    table.joinpath("empty.csv").write_text("c0,F\n,2\n3,4\n")
    for name, message in (
        ("wrong.csv", "no column 'c0'"),
        ("empty.csv", "without a number in 'c0'"),
        ("20,50", "takes the name of a file"),
    ):
        with pytest.raises(UserError, match=message):
            main(["sample", "run", "--conditions", name, "--out", "e.csv"])


def test_conditions_go_to_both_players_or_to_none(table):
    dataset = Table(path="t.csv", columns=("x",), condition=("energy",))
    with pytest.raises(UserError, match=r"the data have 1 numbers, generator\.condition_dim is 0"):
        build_gan(Config(dataset=dataset, generator=MLP(output_shape=(1,))))
    with pytest.raises(UserError, match="the data have 0 numbers"):
        build_gan(Config(generator=MLP(output_shape=(2,), condition_dim=2)))


def test_conditions_and_schema_of_a_stranger_are_not_believed(table):
    args = [
        *("--dataset", "table", "--dataset.path", "t.csv", "--dataset.columns", "x"),
        *("--dataset.condition", "energy", "--generator.features", "4", "--critic.features", "4"),
        *("--batch-size", "8", "--n-critic", "1", "--steps", "1", "--workdir", "run"),
    ]
    assert train(args) == 0
    schema, rows = table / "run" / "schema.json", table / "run" / "conditions.npz"
    kept = {path: path.read_bytes() for path in (schema, rows)}
    sample = ["sample", "run", "--num", "2", "--force", "--out", "s.csv"]
    assert main(sample) == 0
    for path, wrong in (
        (rows, b"PK no zip"),
        (rows, zipped(vectors=np.zeros((5, 2), np.float32))),
        (rows, zipped(vectors=np.zeros((5, 1), np.int64))),
        (rows, zipped(vectors=np.array([{}], object))),
        (schema, b'{"units": {"columns": [{}]}, "class_names": [], "label": "l"}'),
        (schema, b'{"class_names": 3}'),
        (schema, b"[" * 100_000),
    ):
        path.write_bytes(wrong)
        with pytest.raises(UserError, match=r"schema\.json|conditions\.npz"):
            main(sample)
        path.write_bytes(kept[path])


def zipped(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def test_conditions_of_integers_are_written_as_they_were_asked_for():
    counts = np.array([[20], [50], [200]], np.uint8)
    units = standardizing(counts, np.ones(3, bool), "c")
    for asked, dtype in (([20, 50], np.uint8), ([20, 50.5], np.float64), ([20, 300], np.float64)):
        x = units.to_numbers(np.array(asked)[:, None])
        written = units.covering(x).to_units(x)
        assert written.dtype == dtype
        assert written[:, 0].tolist() == asked


@pytest.mark.parametrize("values", [(), ("false", "true"), ("FALSE", "TRUE")])
@pytest.mark.parametrize(("yes", "no"), [("true", "false"), ("True", "False"), ("1", "0")])
def test_flags_are_set_in_any_spelling(values, yes, no, tmp_path):
    flag = Column("smiles", "flag", center=0.5, scale=0.5, low=0.0, high=1.0, values=values)
    units, file = TableUnits(Columns((flag,))), tmp_path / "asked.csv"
    file.write_text(f"smiles\n{yes}\n{no}\n")
    vectors, _ = read_conditions(str(file), units, None, ())
    assert vectors.tolist() == [[1], [-1]]
    assert [units.encode_value("smiles", text)[1].tolist() for text in (yes, no)] == [[1], [-1]]


@pytest.mark.parametrize(("yes", "no"), [("TRUE", "FALSE"), ("True", "false"), ("1.0", "2.0")])
def test_the_table_of_the_data_is_a_table_of_conditions(yes, no, tmp_path):
    file = tmp_path / "data.csv"
    file.write_text(f"x,kind,place\n1,{yes},{no}\n2,{no},{yes}\n3,{no},{no}\n")
    names = {"one_hot": ("kind",), "condition": ("kind",), "label": "place"}
    data = Table(path=str(file), **names).open()
    vectors, labels = read_conditions(str(file), data.condition_units, "place", data.class_names)
    np.testing.assert_array_equal(data.examples[1][0], labels)
    np.testing.assert_array_equal(data.examples[1][1], vectors)
    file.write_text(f"kind,place\n{yes},{yes}\n")  # only one of the spellings
    _, labels = read_conditions(str(file), data.condition_units, "place", data.class_names)
    assert data.class_names[labels[0]] == yes.removesuffix(".0")


def test_a_condition_without_a_class_is_refused(tmp_path):
    file = tmp_path / "c.csv"
    file.write_text("energy,place\n5,1\n7,\n")
    units = TableUnits(Columns((Column("energy"),)))
    with pytest.raises(UserError, match="lacks values of 'place'"):
        read_conditions(str(file), units, "place", ("0", "1"))
    with pytest.raises(UserError, match=r"--conditions takes the name of a file, \.csv, .*c\.npy"):
        read_conditions(str(tmp_path / "c.npy"), units, None, ())
