"""User-supplied tables are trained on, held out in part, and sampled in their own units."""

import csv
import json

import numpy as np
import pytest
from people_table import CITIES, NAMES, people, table, train, write

from wgan_jax.__main__ import main
from wgan_jax.cli.flags import load
from wgan_jax.data.columns import Column, Columns
from wgan_jax.data.units import from_json
from wgan_jax.errors import UserError
from wgan_jax.experiment.evaluation.units import column_w1
from wgan_jax.experiment.run import open_run

pytestmark = [pytest.mark.usefixtures("few_points"), pytest.mark.once]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on a table of 20,000 rows and 12 columns."""
    folder = tmp_path_factory.mktemp("table")
    path = write(folder / "people.csv", people(20_000))
    args = [
        *("--dataset", "table", "--dataset.path", path, "--dataset.one-hot", "city"),
        *("--dataset.held-out", "0.1", "--generator.features", "16", "--critic.features", "16"),
        *(
            "--batch-size",
            "32",
            "--n-critic",
            "2",
            "--chunk",
            "5",
            "--workdir",
            str(folder / "run"),
        ),
    ]
    assert train([*args, "--steps", "10"]) == 0
    return folder, args


def test_a_table_is_trained_and_evaluated_in_its_units(trained):
    folder, _ = trained
    result = json.loads((folder / "run" / "evaluation.json").read_text())
    assert all(f"w1/column/{name}" in result for name in NAMES)
    money, rate, city = (result[f"w1/column/{name}"] for name in ("income", "rate", "city"))
    assert 100 < money < 1e6
    assert 1e-8 < rate < 1e-3
    assert 0 <= city <= 1
    for name in NAMES:
        key = f"w1/column/{name}"
        assert 0 <= result[f"{key}/lower"] <= result[f"{key}/upper"]
    assert (folder / "run" / "samples" / "10.png").stat().st_size > 1_000
    assert "w1/column/income" in (folder / "run" / "report.html").read_text()


def test_samples_come_out_in_the_units_and_names_of_the_table(trained, capsys):
    folder, _ = trained
    (folder / "people.csv").rename(folder / "away.csv")  # the table need not be there
    try:
        out = folder / "samples.csv"
        assert main(["sample", str(folder / "run"), "--num", "700", "--out", str(out)]) == 0
        array = folder / "samples.npy"
        assert main(["sample", str(folder / "run"), "--num", "700", "--out", str(array)]) == 0
    finally:
        (folder / "away.csv").rename(folder / "people.csv")
    with open(out, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == NAMES
    assert len(rows) == 700
    assert {row["smoker"] for row in rows} <= {"True", "False"}
    assert {row["city"] for row in rows} <= set(CITIES)
    assert all(18 <= int(row["age"]) <= 90 for row in rows)
    numbers = np.genfromtxt(out, delimiter=",", names=True, usecols=(0, 1), encoding="utf-8")
    assert np.isfinite(numbers["income"]).all()
    assert 1e3 < np.abs(numbers["income"]).mean() < 1e6
    same = np.load(array, allow_pickle=False)
    assert same.dtype.names == tuple(NAMES)
    assert np.array_equal(same["age"], [int(row["age"]) for row in rows])
    assert same["city"].tolist() == [row["city"] for row in rows]


def test_parquet_holds_the_same_as_csv(trained):
    parquet = pytest.importorskip("pyarrow.parquet")
    folder, _ = trained
    for suffix in ("csv", "parquet"):
        out = str(folder / f"same.{suffix}")
        assert main(["sample", str(folder / "run"), "--num", "30", "--out", out]) == 0
    read = parquet.read_table(folder / "same.parquet")
    with open(folder / "same.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert read.column("city").to_pylist() == [row["city"] for row in rows]
    assert read.column("age").to_pylist() == [int(row["age"]) for row in rows]
    assert read.column("rate").to_pylist() == [float(row["rate"]) for row in rows]
    # It is read as the CSV is, with the same rows held out.
    options = {"one_hot": ("city",), "held_out": 0.3}
    left, right = (table(folder / f"same.{s}", **options).open() for s in ("csv", "parquet"))
    np.testing.assert_allclose(left.examples, right.examples, atol=1e-6)


def test_a_run_goes_on_in_the_units_that_it_began_with(trained):
    folder, args = trained
    run = open_run(load(folder / "run" / "config.json"), folder / "run")
    former, schema = run.data, folder / "run" / "schema.json"
    text = schema.read_text()
    saved = json.loads(text)
    saved["units"]["columns"][1]["center"] += 5.0  # as another machine might round it
    schema.write_text(json.dumps(saved))
    try:
        again = open_run(load(folder / "run" / "config.json"), folder / "run")
    finally:
        schema.write_text(text)
    shift = 5.0 / former.units.columns.columns[1].scale
    moved = np.asarray(former.examples[:, 1]) - np.asarray(again.data.examples[:, 1])
    np.testing.assert_allclose(moved, shift, rtol=1e-4)
    held = again.data.held_out()
    assert held.units == again.data.units
    assert train([*args, "--steps", "15"]) == 0


def test_a_table_that_changed_is_not_gone_on_with(trained, capsys):
    folder, args = trained
    kept = (folder / "people.csv").read_bytes()
    try:
        write(folder / "people.csv", people(20_000, seed=1))
        assert train([*args, "--steps", "20"]) == 2
    finally:
        (folder / "people.csv").write_bytes(kept)
    assert "not those that its run began with" in capsys.readouterr().err


def test_encoding_and_decoding_are_inverse():
    x = {"a": np.array([3.5, -1e9, 2e9]), "n": np.array([7, 7, 9]), "c": np.array([2, 0, 1])}
    columns = Columns(
        (
            Column.fit("a", "number", x["a"]),
            Column.fit("n", "integer", x["n"]),
            Column.fit("c", "category", x["c"], ("x", "y", "z")),
        )
    )
    encoded = columns.encode(x)
    assert encoded.shape == (3, 5)
    np.testing.assert_allclose(encoded[:, :2].mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(encoded[:, :2].std(0), 1, atol=1e-6)
    decoded = columns.decode(encoded)
    np.testing.assert_allclose(decoded["a"], x["a"], atol=1e-6 * np.std(x["a"]))
    assert decoded["n"].tolist() == [7, 7, 9]
    assert decoded["c"].tolist() == ["z", "x", "y"]
    assert Columns.from_json(json.loads(json.dumps(columns.to_json()))) == columns


@pytest.mark.parametrize("values", [[5.0, 5.0], [0.1] * 7, [1e300, 1e300], [0, 0]])
def test_a_constant_column_stays_constant(values):
    column = Column.fit("x", "number", np.array(values))
    assert np.isfinite(column.encode(np.array(values))).all()
    assert column.decode(np.full((4, 1), 3.0, np.float32)).tolist() == [values[0]] * 4


def test_held_out_rows_depend_on_their_content_alone(tmp_path):
    columns = people(2_000)
    options = {"one_hot": ("city",), "held_out": 0.2}
    order = np.random.default_rng(0).permutation(2_000)
    mixed = {name: [values[i] for i in order[:1_500]] for name, values in columns.items()}
    whole = table(write(tmp_path / "a.csv", columns), **options).open()
    part = table(write(tmp_path / "b.csv", mixed), **options).open()

    def ages(dataset):
        rows = dataset.units.by_column(np.asarray(dataset.examples))
        exact = (np.rint(1e4 * rows[name]).tolist() for name in ("m0", "m1", "m2"))
        return set(zip(*exact, strict=True))

    assert 300 < whole.held_out().size < 500
    assert whole.held_out().size + whole.size == 2_000
    assert ages(part) <= ages(whole)
    assert ages(part.held_out()) <= ages(whole.held_out())


def test_a_file_that_goes_away_does_not_stop_what_has_begun(tmp_path):
    path = write(tmp_path / "a.csv", people(200))
    opened = table(path, columns=("age", "m0"), condition=("m1",), held_out=0.2).open()
    (tmp_path / "a.csv").unlink()
    assert opened.size + opened.held_out().size == 200
    assert len(opened.config.condition_rows()) == opened.size
    with pytest.raises(UserError, match="cannot be read"):
        opened.config.open()


def test_labels_are_classes_by_name(tmp_path, caplog):
    caplog.set_level("INFO")
    path = write(tmp_path / "a.csv", people(300))
    opened = table(path, columns=("age", "income"), label="city").open()
    x, labels = opened.examples
    assert x.shape == (300, 2)
    assert opened.class_names == tuple(sorted(CITIES))
    assert [opened.class_names[i] for i in labels] == people(300)["city"]
    assert "0 is Köln" in caplog.text


@pytest.mark.parametrize(
    "damage",
    [
        {"units": 3},
        {"units": {"columns": []}},
        {"units": {"columns": [{"name": "a"}]}},
        {"units": {"center": [0.0], "scales": [0.0], "dtype": "float32", "shape": [2]}},
        {"units": {"center": [0.0], "scales": [1.0], "dtype": "object", "shape": [2]}},
        {"units": {"center": [0.0], "scales": [1.0], "dtype": "float32", "shape": []}},
    ],
)
def test_a_schema_of_a_stranger_is_not_believed(damage):
    with pytest.raises(ValueError, match=r"\w"):
        from_json(damage["units"])


def test_the_bounds_of_a_column_hold_and_are_in_its_unit():
    r = np.random.default_rng(0)
    covered = 0
    for _ in range(50):
        x, y = 100 * r.random(400), 100 * r.random(500) + 20
        w1 = column_w1(x, y)
        assert w1.lower <= w1.value <= w1.upper
        covered += w1.lower <= 20 <= w1.upper
        assert column_w1(x / 100, y / 100).value == pytest.approx(w1.value / 100)
    assert covered == 50
    # Of equal distributions nothing is certified.
    assert column_w1(r.normal(size=500), r.normal(size=500)).lower == 0.0


def test_w1_of_a_category_is_the_share_that_would_have_to_change():
    x, y = np.array(["a"] * 60 + ["b"] * 40), np.array(["a"] * 30 + ["b"] * 30 + ["c"] * 40)
    w1 = column_w1(x, y)
    assert w1.value == pytest.approx(0.4)
    assert 0 <= w1.lower <= 0.4 <= w1.upper <= 1
