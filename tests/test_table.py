"""User-supplied tables: read, trained on, and sampled in their own units."""

import csv
import gzip
import json
from pathlib import Path

import jax
import numpy as np
import pytest

from wgan_jax import data
from wgan_jax.__main__ import main
from wgan_jax.cli.flags import load
from wgan_jax.data.columns import Column, Columns
from wgan_jax.data.units import from_json
from wgan_jax.errors import UserError
from wgan_jax.experiment.evaluation.units import column_w1
from wgan_jax.experiment.run import open_run

pytestmark = pytest.mark.usefixtures("few_points")
CITIES = ("Köln", "Paris", "São Paulo, SP")
NAMES = ["income", "age", "smoker", "city", "born", "rate", "height", "m0", "m1", "m2", "m3", "m4"]


def people(n, seed=0):
    """Rows of 12 columns in different units, as the texts of a table."""
    r = np.random.default_rng(seed)
    columns = {
        "income": [f"{x:.2f}" for x in r.lognormal(10, 0.5, n)],
        "age": [str(x) for x in r.integers(18, 91, n)],
        "smoker": [str(x) for x in r.random(n) < 0.25],
        "city": [CITIES[i] for i in r.choice(3, n, p=(0.5, 0.3, 0.2))],
        "born": [str(x) for x in r.integers(1_000_000_000, 1_700_000_000, n)],
        "rate": [f"{x:.8f}" for x in r.normal(0, 1e-5, n)],
        "height": [f"{x:.1f}" for x in r.normal(172, 9, n)],
    }
    columns |= {f"m{i}": [f"{x:.4f}" for x in r.normal(i, 1, n)] for i in range(5)}
    return columns


def write(path, columns, delimiter=",", encoding="utf-8"):
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return str(path)


def table(path, **options):
    return data.Table(path=str(path), **options)


def train(args):
    from wgan_jax.cli.common import run_command
    from wgan_jax.cli.train import train as command

    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        return run_command(command, args)


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
    # And it is read as the CSV is, into the same rows on the same side.
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
    ("delimiter", "encoding"), [(";", "utf-8-sig"), ("\t", "utf-16"), ("|", "utf-8")]
)
def test_the_tables_of_spreadsheets_are_read(tmp_path, delimiter, encoding):
    path = write(tmp_path / "a.csv", people(50), delimiter, encoding)
    opened = table(path, one_hot=("city",)).open()
    assert opened.units.columns.names == tuple(NAMES)
    assert opened.units.columns.columns[3].values == tuple(sorted(CITIES))


def test_numbers_may_have_a_decimal_comma_where_columns_are_cut_by_a_semicolon(tmp_path):
    (tmp_path / "a.csv").write_text('"a,b,c";n;t\n3,14;7;1,2 m\n-0,5e1;8;2\n')
    opened = table(tmp_path / "a.csv", one_hot=("t",)).open()
    values = opened.units.by_column(np.asarray(opened.examples))
    np.testing.assert_allclose(values["a,b,c"], [3.14, -5.0])
    assert values["n"].tolist() == [7, 8]
    assert values["t"].tolist() == ["1,2 m", "2"]


def test_rows_without_a_value_are_skipped_when_asked(tmp_path, caplog):
    caplog.set_level("INFO")
    columns = people(100)
    columns["age"][3], columns["income"][50] = "", "NaN"
    path = write(tmp_path / "a.csv", columns)
    opened = table(path, one_hot=("city",), missing="skip").open()
    assert opened.size == 98
    assert "2 of 100 rows" in caplog.text


BAD = {
    "a missing column": ({}, {"columns": ("agee",)}, "did you mean 'age'"),
    "text": ({}, {}, "'city'.*--dataset.one-hot"),
    "a category that is none": ({}, {"one_hot": ("cty",)}, "did you mean 'city'"),
    "a missing value": ({"age": {4: ""}}, {"one_hot": ("city",)}, "no value of 'age' in .*: 6 "),
    "infinity": ({"age": {4: "inf"}}, {"one_hot": ("city",)}, "infinity in 'age', in .*: 6"),
    "no file": ({}, {"path": "none.csv"}, "cannot be read"),
    "no name of a file": ({}, {"path": ""}, "--dataset.path"),
    "another kind": ({}, {"path": "a.xlsx"}, ".csv"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_table_is_refused_by_name(tmp_path, case):
    changes, options, message = BAD[case]
    columns = people(40)
    for name, values in changes.items():
        for row, value in values.items():
            columns[name][row] = value
    path = write(tmp_path / "a.csv", columns)
    with pytest.raises(UserError, match=message):
        data.Table(**{"path": path} | options).open()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"1,2\n3,4\n", "starts with numbers"),
        (b"a,a\n1,2\n", "two columns named 'a'"),
        (b"a,b\n1,2\n3\n", "line 3 .* has 1 values"),
        (b"a,\n1,2\n", "column 2 .* has no name"),
        (b"a,b\n", "no row"),
        (b"a\n\xff\xfe\xfa\n", "UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "UTF-8"),
        (b'a,b\n"' + b"x" * 200_000 + b'",2\n', "not a table that can be read"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path, content, message):
    (tmp_path / "a.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        table(tmp_path / "a.csv").open()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.CSV", "a,b\n1,2.5\n3,4.5\n"),
        ("a.csv", "sep=|\na|b\n1|2.5\n3|4.5\n"),
        ("a.csv", "\n \na,b\n1,2.5\n,\n3,4.5\n   \n"),
        ("a.csv", "a,b\r1,2.5\r3,4.5\r"),
        ("a.TSV", "a\tb\n1\t2,5\n3\t4,50\n"),
        ("a.csv", "a|b\n1|2,5\n3|4,500\n"),
    ],
)
def test_what_programs_write_around_a_table_is_no_part_of_it(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    opened = table(tmp_path / name).open()
    values = opened.units.by_column(np.asarray(opened.examples))
    assert {name: x.tolist() for name, x in values.items()} == {"a": [1, 3], "b": [2.5, 4.5]}


def test_columns_are_cut_by_what_cuts_the_first_two_lines_alike(tmp_path):
    (tmp_path / "a.csv").write_text("price, EUR;size\n3;4\n5;6\n")
    assert table(tmp_path / "a.csv").open().units.columns.names == ("price, EUR", "size")


@pytest.mark.parametrize("text", ["None", "#N/A", "<NA>", "-nan", "-", "?", "."])
def test_a_sign_among_numbers_stands_for_a_missing_one(tmp_path, text):
    (tmp_path / "a.csv").write_text(f"a,c\n1,{text}\n{text},x\n3,y\n")
    path = tmp_path / "a.csv"
    with pytest.raises(UserError, match="no value of 'a' in 1 of 3 rows: 3 "):
        table(path, columns=("a",)).open()
    is_word = text.lower() in ("none", "-", "?", ".")
    opened = table(path, columns=("c",), one_hot=("c",), missing="skip").open()
    assert opened.units.columns.columns[0].values == ((text, "x", "y") if is_word else ("x", "y"))


@pytest.mark.parametrize("amounts", [("1,500", "20"), ("10%", "3%"), ("$5", "$6")])
def test_numbers_with_signs_around_them_are_refused_with_a_hint(tmp_path, amounts):
    path = write(tmp_path / "a.csv", {"a": amounts})
    with pytest.raises(UserError, match="without thousands separators, signs and units"):
        table(path).open()


def test_thousands_are_not_taken_for_decimals_in_columns_cut_by_tabs(tmp_path):
    (tmp_path / "a.tsv").write_text("a\tb\n1,500\t1\n20\t2\n")
    with pytest.raises(UserError, match="has text in 'a'"):
        table(tmp_path / "a.tsv").open()


def test_the_largest_whole_numbers_come_back(tmp_path):
    largest = 2**63 - 1
    opened = table(write(tmp_path / "a.csv", {"a": [largest, -largest - 1]})).open()
    back = opened.units.by_column(np.asarray(opened.examples))["a"]
    assert back.dtype == np.int64
    np.testing.assert_allclose(back.astype(float), [largest, -largest - 1], rtol=1e-6)


def test_columns_of_parquet_are_what_they_say(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "a.PARQUET"
    columns = {
        "wide": pyarrow.array([2**63 + 2**40, 2**62], pyarrow.uint64()),
        "text": pyarrow.array(["x", "y"], pyarrow.string_view()),
        "none": pyarrow.nulls(2),
        "__index_level_0__": [4, 5],
    }
    parquet.write_table(pyarrow.table(columns), path)
    with pytest.raises(UserError, match="no value of 'none' in 2 of 2 rows"):
        table(path, one_hot=("text",)).open()
    del columns["none"]
    parquet.write_table(pyarrow.table(columns), path)
    opened = table(path, one_hot=("text",)).open()
    values = opened.units.by_column(np.asarray(opened.examples))
    assert list(values) == ["wide", "text"]
    np.testing.assert_allclose(values["wide"], [2.0**63, 2.0**62], rtol=1e-6)
    assert values["text"].tolist() == ["x", "y"]
    twice = pyarrow.Table.from_arrays([pyarrow.array([1]), pyarrow.array([2])], ["a", "a"])
    parquet.write_table(twice, path)
    with pytest.raises(UserError, match="two columns named 'a'"):
        table(path).open()
    parquet.write_table(pyarrow.table({"x": [[1.0, 2.0], [3.0, 4.0]]}), path)
    with pytest.raises(UserError, match="save them as rows of an array.*--dataset arrays"):
        table(path).open()


@pytest.mark.parametrize(
    ("strange", "message"),
    [
        (
            "see note",
            r"has 'see note' in 'a', whose other .* numbers: fix it, name the column in --data",
        ),
        ("1,500", r"has '1,500' in 'a', .* fix it; write numbers without thousands separators"),
    ],
)
def test_one_value_that_is_no_number_is_named(tmp_path, strange, message):
    path = write(tmp_path / "a.csv", {"a": [*map(str, range(40)), strange]})
    with pytest.raises(UserError, match=message):
        table(path).open()


def test_a_word_among_decimal_commas_is_named(tmp_path):
    (tmp_path / "a.csv").write_text("a;b\n" + "".join(f"{i},5;{i}\n" for i in range(9)) + "x;9\n")
    with pytest.raises(UserError, match="has 'x' in 'a'"):
        table(tmp_path / "a.csv").open()


def test_a_folder_of_two_tables_holds_one_out(tmp_path):
    write(tmp_path / "train.csv", {"a": ["1", "2", "3", "4"], "ok": ["true", "false"] * 2})
    write(tmp_path / "Test.csv", {"ok": ["true"] * 3, "a": ["5.5", "", "7"]})
    config = table(tmp_path, missing="skip")
    data = config.open()
    unseen = data.held_out()
    assert data.units.by_column(data.examples)["a"].tolist() == [1, 2, 3, 4]
    assert unseen.units.by_column(unseen.examples)["a"].tolist() == pytest.approx([5.5, 7])
    assert data.units.by_column(data.examples)["ok"].tolist() == ["true", "false"] * 2
    assert float(np.abs(data.examples[:, 0].mean())) < 1e-6  # standardized by what is trained on
    (tmp_path / "Test.csv").rename(tmp_path / "gone")  # which a run that has read it does not mind
    assert data.held_out().size == 2
    (tmp_path / "gone").rename(tmp_path / "Test.csv")
    # With a fraction to hold out, the test part is left alone.
    parted = table(tmp_path, missing="skip", held_out=0.5).open()
    assert parted.size + parted.held_out().size == 4
    # What comes later is seen, in either part.
    write(tmp_path / "Test.csv", {"ok": ["true"] * 3, "a": ["5.5", "6", "7"]})
    assert table(tmp_path, missing="skip").open().held_out().size == 3


@pytest.mark.parametrize(
    ("test", "message"),
    [
        ({"b": ["1", "2"]}, r"only the training one has a column 'a'.*--dataset.columns"),
        ({"a": ["x", "y"]}, r"'a' holds numbers in the training part .* text in the held-out one"),
        ({"a": ["1", "?"]}, r"test.csv has no value of 'a' in 1 of 2 rows: 3"),
    ],
)
def test_two_parts_that_do_not_go_together_are_told(tmp_path, test, message):
    write(tmp_path / "train.csv", {"a": ["1", "2"]})
    write(tmp_path / "test.csv", test)
    with pytest.raises(UserError, match=message):
        table(tmp_path).open()


@pytest.mark.parametrize("name", ["a.csv", "a.parquet"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    import os

    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match="a pipe"):
        table(tmp_path / name, columns=("a",)).open()


def test_damaged_parquet_is_refused(tmp_path):
    pytest.importorskip("pyarrow")
    (tmp_path / "a.parquet").write_bytes(b"PAR1" + b"\0" * 100 + b"PAR1")
    with pytest.raises(UserError, match="not a table that can be read"):
        table(tmp_path / "a.parquet").open()


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


def test_a_packed_table_is_the_table(tmp_path):
    content = Path(write(tmp_path / "people.csv", people(50))).read_bytes()
    expected = table(tmp_path / "people.csv", one_hot=("city",)).open()
    (tmp_path / "people.csv.gz").write_bytes(gzip.compress(content))
    (tmp_path / "packed.csv").write_bytes(gzip.compress(content))  # by another name
    (tmp_path / "plain.CSV.gz").write_bytes(content)  # unpacked on its way
    (tmp_path / "wide.tsv.gz").write_bytes(gzip.compress(content.decode().encode("utf-16")))
    for name in ("people.csv.gz", "packed.csv", "plain.CSV.gz", "wide.tsv.gz"):
        found = table(tmp_path / name, one_hot=("city",)).open()
        np.testing.assert_array_equal(found.examples, expected.examples)


def test_a_packed_table_counts_lines_as_the_table_does(tmp_path):
    (tmp_path / "x.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n3,\n"))
    with pytest.raises(UserError, match="no value of 'b' in 1 of 2 rows: 3 "):
        table(tmp_path / "x.csv.gz").open()


@pytest.mark.parametrize("damage", ["cut", "header", "sum", "inside", "bomb", "nothing"])
def test_a_damaged_packed_table_is_one_line(tmp_path, damage, capsys):
    content = bytearray(gzip.compress(b"a,b\n" + b"".join(b"%d,1\n" % i for i in range(999))))
    if damage == "cut":
        content = content[:-20]
    elif damage == "header":
        content[2] = 99
    elif damage == "sum":
        content[-6] ^= 1
    elif damage == "inside":
        content[200:220] = bytes(20)
    elif damage == "nothing":
        content = b""
    else:  # 256 MiB in 300 kB
        content = gzip.compress(b"a\n" + b"0\n" * 2**19) * 260
    (tmp_path / "x.csv.gz").write_bytes(content)
    place = ["--dataset", "table", "--dataset.path", str(tmp_path / "x.csv.gz")]
    assert train([*place, "--dry-run"]) == 2
    (told,) = capsys.readouterr().err.strip().splitlines()
    wanted = {"bomb": "unpacks to more than", "nothing": "is empty"}
    assert wanted.get(damage, "is a damaged gzip file") in told
