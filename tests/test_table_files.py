"""CSV, Parquet and gzip files are read as tables, or refused in one line."""

import decimal
import gzip
from pathlib import Path

import numpy as np
import pytest
from people_table import CITIES, NAMES, people, table, train, write

from wgan_jax import data
from wgan_jax.errors import UserError


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


def test_codes_keep_their_leading_zeros(tmp_path):
    (tmp_path / "a.csv").write_text("zip,n\n01234,1\n10001,2\n00501,03\n")
    opened = table(tmp_path / "a.csv", one_hot=("zip",)).open()
    values = opened.units.by_column(np.asarray(opened.examples))
    assert values["zip"].tolist() == ["01234", "10001", "00501"]
    assert values["n"].tolist() == [1, 2, 3]
    labelled = table(tmp_path / "a.csv", label="zip").open()
    assert labelled.class_names == ("00501", "01234", "10001")


@pytest.mark.parametrize(
    ("delimiter", "codes"),
    [
        (",", ["1.1", "1.10", "2"]),  # versions
        (",", ["12345678901234567890", "12345678901234567891"]),  # beyond int64
        (",", ["5E1", "50"]),
        (",", ["+1", "1", "-1"]),
        (";", ["1,5", "1,50"]),
    ],
)
def test_codes_that_are_equal_as_numbers_stay_apart(tmp_path, delimiter, codes):
    path = write(tmp_path / "a.csv", {"code": codes, "n": list("123")[: len(codes)]}, delimiter)
    opened = table(path, one_hot=("code",)).open()
    assert opened.units.by_column(np.asarray(opened.examples))["code"].tolist() == codes
    assert table(path, label="code").open().class_names == tuple(sorted(codes))


def test_codes_of_parquet_that_are_equal_as_float64_stay_apart(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    wide = pyarrow.array([2**64 - 1, 2**64 - 2, 7], pyarrow.uint64())
    exact = [decimal.Decimal(text) for text in ("10000000000000000000.0", "10000000000000000000.1")]
    columns = {"wide": wide, "exact": [*exact, None], "amount": wide}
    parquet.write_table(pyarrow.table(columns), tmp_path / "a.parquet")
    opened = table(
        tmp_path / "a.parquet", one_hot=("wide", "exact"), columns=tuple(columns), missing="skip"
    ).open()
    values = opened.units.by_column(np.asarray(opened.examples))
    assert values["wide"].tolist() == [str(2**64 - 1), str(2**64 - 2)]
    assert values["exact"].tolist() == [str(value) for value in exact]
    assert values["amount"].dtype == np.float64


def test_a_parquet_without_columns_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="has no columns"):
        table(tmp_path / "a.parquet").open()


def test_codes_that_numbers_spell_alike_keep_their_order(tmp_path):
    path = write(tmp_path / "a.csv", {"code": ["10.5", "2.0", "NA", "2.0"], "n": list("1234")})
    opened = table(path, one_hot=("code",), missing="skip").open()
    assert opened.units.columns.columns[0].values == ("2.0", "10.5")


def test_a_column_without_a_name_is_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.table({"a": [1, 2], "": [3, 4]}), tmp_path / "a.parquet")
    with pytest.raises(UserError, match="without a name"):
        table(tmp_path / "a.parquet").open()
    assert table(tmp_path / "a.parquet", columns=("a",)).open().size == 2


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


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ("a,b\n1,2\n\n , \n3,\n", 5),
        ("\n\na,b\n1,2\n3,inf\n", 5),
        ("sep=,\na,b\n1,2\n\n3,\n", 4),  # a spreadsheet does not show the first line
        ('a,b\n"\n1\n",2\n3,\n', 3),
    ],
)
def test_rows_are_counted_as_a_spreadsheet_shows_them(tmp_path, text, row):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(UserError, match=f"'b',? in 1 of 2 rows: {row}"):
        table(tmp_path / "a.csv").open()


@pytest.mark.parametrize(
    "amounts", [("1,500", "20"), ("10%", "3%"), ("$5", "$6"), ("1\u202f500", "20")]
)
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
    with pytest.raises(UserError, match=r"save them as rows of an array.*--dataset arrays"):
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
    # A later change is noticed, in either part.
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
