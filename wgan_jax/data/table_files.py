"""Tables in .csv, .parquet and `datasets` files, as columns of numbers or text."""

from __future__ import annotations

import codecs
import contextlib
import csv
import gzip
import io
import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

from wgan_jax.data.columns import chosen
from wgan_jax.data.remote import expand_user, require_local
from wgan_jax.data.saved_sets import is_saved_set, open_saved_set, saved_splits
from wgan_jax.errors import UserError, install_extra, one_line
from wgan_jax.files import open_regular

SUFFIXES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".parquet")
_GZIP = b"\x1f\x8b"
_DECIMAL_COMMA = re.compile(r"([+-]?\d+(,\d*)?([eE][+-]?\d+)?)?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3},\d{3}")
_DELIMITERS = ",;\t|"
_MISSING = frozenset({"", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null"})
_NO_NUMBER = frozenset({"none", "-", "?", "."})  # regular values in a column of text
_PANDAS_INDEX = "__index_level_"
_MOST_CELLS_PER_BYTE, _SMALL_CELLS = 1_000, 2**25
_MOST_TEXT_PER_BYTE, _SMALL_TEXT = 200, 2**28


class RawColumn(NamedTuple):
    """A column as stored in a file.

    Attributes:
      values: [n] of float64, int64 or bool, or of str (as objects).
      missing: mask [n] of absent values, whose entries are arbitrary.
      spelling: how the file spells false and true, if a column of text holds nothing else.
      rows: numbers of the rows in messages, as spreadsheets count them; () for 0, 1, ...
    """

    values: np.ndarray
    missing: np.ndarray
    spelling: tuple[str, ...] = ()
    rows: Sequence[int] = ()


def read_table(
    path: str, wanted: Sequence[str], option: str, codes: Sequence[str] = ()
) -> dict[str, RawColumn]:
    """Read the columns `wanted` of a file, in that order; all columns if none is named.

    A folder that `save_to_disk` of `datasets` wrote counts as a file. A column named in `codes`
    stays text if numbers would change its spelling, as of 01234, 1.10 or 5E1.

    Raises:
      UserError: no such file, an unknown format, no such column, or damaged.
    """
    require_local(path)
    file = Path(expand_user(path))
    try:
        if file.is_dir():
            return _read_saved_set(file, wanted, option, codes)
        if not is_table(file):
            raise UserError(
                f"--dataset.path takes a {', '.join(SUFFIXES)} or a folder of save_to_disk for a "
                f"table, got {path!r}{'' if file.exists() else ', which does not exist'}"
            )
        if file.suffix.lower() == ".parquet":
            return _read_parquet(file, wanted, option, codes)
        return _read_csv(file, wanted, option, codes)
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from error


def is_table(path: Path) -> bool:
    """Return whether a path is taken for a table, by its name or the content of the folder."""
    return path.name.lower().endswith(SUFFIXES) or is_saved_set(path)


def files_of(path: str) -> list[str]:
    """Return the files that a table is read from."""
    with contextlib.suppress(OSError):  # not a folder, or one that cannot be listed
        return sorted(map(str, Path(expand_user(path)).iterdir()))
    return [path]


def _read_csv(
    path: Path, wanted: Sequence[str], option: str, codes: Sequence[str]
) -> dict[str, RawColumn]:
    with _open_text(path) as file:
        start = file.read(2)
        file.seek(0)
        # Spreadsheets write UTF-16 with a byte order mark, or UTF-8 with or without one.
        is_wide = start in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
        with io.TextIOWrapper(file, "utf-16" if is_wide else "utf-8-sig", newline="") as text:
            try:
                names, rows, delimiter, numbers = _rows(text, path)
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{path} is not text in UTF-8 (byte {error.start:,}): save it as CSV UTF-8"
                ) from error
            except csv.Error as error:
                raise UserError(f"{path} is not a table that can be read: {error}") from error
    named = wanted or names
    chosen(named, names, option, str(path))
    if not all(name.strip() for name in named):
        raise UserError(
            f"column {names.index('') + 1} of {path} has no name (an index?): give it one in the "
            f"first row, or select columns with --dataset.columns"
        )
    index = [names.index(name) for name in named]
    columns = {name: [row[i] for row in rows] for name, i in zip(named, index, strict=True)}
    return {
        name: _typed(texts, delimiter, name in codes)._replace(rows=numbers)
        for name, texts in columns.items()
    }


@contextlib.contextmanager
def _open_text(path: Path) -> Iterator[BinaryIO]:
    """Open a text file in binary, decompressed if it is a gzip file, whatever its name."""
    with open_regular(path, follow=True) as file:
        start = file.read(2)
        file.seek(0)
        if start != _GZIP:
            yield file
            return
        most = max(_SMALL_TEXT, _MOST_TEXT_PER_BYTE * path.stat().st_size)
        try:
            content = gzip.GzipFile(fileobj=file).read(most + 1)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{path} is a damaged gzip file: {one_line(error)}") from error
        if len(content) > most:
            raise UserError(f"{path} unpacks to more than {most:,} bytes: unpack it by hand")
        yield io.BytesIO(content)


def _rows(text: io.TextIOWrapper, path: Path) -> tuple[list[str], list[list[str]], str, list[int]]:
    """Return column names, rows, all of the same length, the delimiter, and the rows' numbers.

    Rows without values are skipped, but counted.
    """
    lines = (line for line in text if line.strip())
    first = list(itertools.islice(lines, 2))
    is_told = re.fullmatch(r"sep=(.)\s*", first[0]) if first else None  # by a spreadsheet
    delimiter = is_told[1] if is_told else _delimiter(first)
    text.seek(0)
    reader = csv.reader(text, delimiter=delimiter)
    numbered = enumerate(reader, 0 if is_told else 1)  # that line is not shown as a row
    for _, row in numbered:
        if any(map(str.strip, row)) and not (len(row) < 3 and row[0] == "sep="):
            break
    else:
        raise UserError(f"{path} is empty")
    names = [name.strip() for name in row]
    if any("\0" in name for name in names):
        raise UserError(f"{path} is not text in UTF-8: save it as CSV UTF-8")
    if all(is_number(name) for name in names):
        raise UserError(
            f"{path} starts with numbers ({', '.join(names)[:60]}): the first row of a table must "
            f"hold column names; save numbers without names as an array in a .npy"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"{path} has two columns named {twice[0]!r}: rename one")
    rows, numbers = [], []
    for number, row in numbered:
        if len(row) != len(names):
            if not any(map(str.strip, row)):
                continue
            raise UserError(
                f"line {reader.line_num:,} of {path} has {len(row)} values, but the first row "
                f"names {len(names)} columns"
            )
        if any(map(str.strip, row)):
            rows.append(row)
            numbers.append(number)
    return names, rows, delimiter, numbers


def _delimiter(lines: list[str]) -> str:
    """Guess the delimiter: the one that cuts both lines into equally many columns, and the most."""

    def cut(delimiter: str) -> tuple[bool, int]:
        rows = list(csv.reader(lines, delimiter=delimiter))
        widths = {len(row) for row in rows}
        return len(widths) == 1 and widths != {1}, len(rows[0]) if rows else 0

    return max(_DELIMITERS, key=cut)


def is_number(text: str) -> bool:
    """Return whether Python parses text as a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _typed(texts: list[str], delimiter: str, is_code: bool) -> RawColumn:
    """Parse a column as the first type that fits all texts: integers, numbers, flags or text."""
    texts = [text.strip() for text in texts]
    missing = np.array([text.casefold() in _MISSING for text in texts], bool)
    column = _numbers(texts, missing, delimiter)
    if column is None:
        more = missing | np.array([text.casefold() in _NO_NUMBER for text in texts], bool)
        column = None if more.all() else _numbers(texts, more, delimiter)
    if column is None or (is_code and _is_respelled(column, texts)):
        return flags_or_text(texts, missing)
    return column


def _is_respelled(column: RawColumn, texts: list[str]) -> bool:
    """Return whether numbers are spelled otherwise than their texts, which may merge codes."""
    cells = zip(column.values.tolist(), texts, column.missing.tolist(), strict=True)
    return any(str(value) != text for value, text, absent in cells if not absent)


def _numbers(texts: list[str], missing: np.ndarray, delimiter: str) -> RawColumn | None:
    """Parse integers or numbers with missing values; None if a text is not a number.

    Commas that do not separate columns may be decimal commas: always if semicolons separate the
    columns, otherwise unless all of them could be thousands separators.
    """
    present = [text for text, absent in zip(texts, missing, strict=True) if not absent]
    with_comma = [text for text in present if "," in text]
    is_decimal = delimiter == ";" or not all(map(_THOUSANDS.fullmatch, with_comma))
    if with_comma and delimiter != "," and is_decimal:
        if not all(map(_DECIMAL_COMMA.fullmatch, present)):
            return None
        present = [text.replace(",", ".") for text in present]
    for parse, dtype in ((int, np.int64), (float, np.float64)):
        try:
            # Python parses 1_000 as a number; in a file it is a name.
            numbers = [parse("x" if "_" in text else text) for text in present]
            values = np.zeros(len(texts), dtype)
            values[~missing] = numbers
        except (ValueError, OverflowError):
            continue
        return RawColumn(values, missing)
    return None


def flags_or_text(texts: list[str], missing: np.ndarray) -> RawColumn:
    """Return text unchanged, or as booleans if it is only one spelling of true and false."""
    present = {text for text, absent in zip(texts, missing, strict=True) if not absent}
    spelled = {text.casefold(): text for text in present}
    if not present or len(spelled) < len(present) or not spelled.keys() <= {"true", "false"}:
        return RawColumn(np.array(texts, object), missing)
    values = np.array([text.casefold() == "true" for text in texts], bool)
    return RawColumn(values, missing, (spelled.get("false", "False"), spelled.get("true", "True")))


def _read_parquet(
    path: Path, wanted: Sequence[str], option: str, codes: Sequence[str]
) -> dict[str, RawColumn]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(f"parquet needs an extra; run: {install_extra('tables')}") from error
    with open_regular(path, follow=True) as file:
        size = path.stat().st_size
        try:
            table = parquet.ParquetFile(file)
            named = _named(table.schema_arrow.names, wanted, option, path)
            _require_size(table.metadata.num_rows * len(named), size, path)
            read = table.read(columns=named)
        except (pyarrow.ArrowException, ValueError, OSError) as error:
            raise UserError(f"{path} is not a table that can be read: {one_line(error)}") from error
    return {
        name: _from_arrow(pyarrow, read.column(name), name, path, name in codes) for name in named
    }


def _named(names: Sequence[str], wanted: Sequence[str], option: str, path: Path) -> list[str]:
    """Return the names of the columns to read."""
    # The index that pandas stores is not a column of the data.
    named = list(wanted) or [x for x in names if not x.startswith(_PANDAS_INDEX)]
    if not named:
        raise UserError(f"{path} has no columns")
    if not all(name.strip() for name in named):
        raise UserError(
            f"{path} has a column without a name: rename it, or select columns with "
            f"--dataset.columns"
        )
    twice = [name for name in named if names.count(name) > 1]
    if twice:
        raise UserError(f"{path} has two columns named {twice[0]!r}: rename one")
    chosen(named, names, option, str(path))
    return named


def _require_size(cells: int, size: int, path: Path) -> None:
    if cells > max(_SMALL_CELLS, _MOST_CELLS_PER_BYTE * size):
        raise UserError(f"{path} claims {cells:,} values in {size:,} bytes: it is damaged")


def _read_saved_set(
    folder: Path, wanted: Sequence[str], option: str, codes: Sequence[str]
) -> dict[str, RawColumn]:
    if not is_saved_set(folder):
        splits = sorted(saved_splits(folder), key=lambda name: name != "train")
        raise UserError(
            f"{folder} has the splits {', '.join(splits)[:300]}: choose one, {folder / splits[0]}"
            if splits
            else f"{folder} is not a folder that save_to_disk of `datasets` wrote, nor a table"
        )
    rows = open_saved_set(folder, "a folder of save_to_disk")
    import pyarrow  # which `datasets` depends on

    named = _named(rows.column_names, wanted, option, folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    _require_size(rows.num_rows * len(named), size, folder)
    try:
        read = rows.select_columns(named).with_format("arrow")[:]
        read.validate(full=True)
    except Exception as error:  # from Arrow, which does not validate files when it opens them
        raise UserError(f"{folder} is not a table that can be read: {one_line(error)}") from error
    columns = {}
    for name in named:
        columns[name] = _from_arrow(pyarrow, read.column(name), name, folder, name in codes)
        classes = getattr(rows.features[name], "names", None)  # for class labels
        if classes:
            columns[name] = _class_names(columns[name], classes, name, folder)
    return columns


def _class_names(column: RawColumn, names: Sequence[str], what: str, path: Path) -> RawColumn:
    """Convert class labels to text; -1 means missing."""
    missing = column.missing | (column.values == -1)
    index = np.where(missing, 0, column.values)
    strange = index[(index < 0) | (index >= len(names))]
    if len(strange):
        raise UserError(
            f"the column {what!r} of {path} holds {strange[0]}, which is not one of "
            f"its {len(names):,} classes"
        )
    return RawColumn(np.array(names, object)[index], missing)


def _from_arrow(pyarrow: Any, column: Any, name: str, path: Path, is_code: bool) -> RawColumn:
    types, kind = pyarrow.types, column.type
    missing = column.is_null().to_numpy().astype(bool)
    if types.is_dictionary(kind):
        kind = kind.value_type
        column = column.cast(kind)
    if types.is_null(kind):
        return RawColumn(np.zeros(len(missing)), missing)
    if any(map(str(kind).startswith, ("string", "large_string"))):  # string_view, too
        return flags_or_text([text or "" for text in column.to_pylist()], missing)
    if types.is_boolean(kind):
        return RawColumn(column.fill_null(False).to_numpy().astype(bool), missing)
    if is_code and (types.is_decimal(kind) or kind == pyarrow.uint64()):
        raw = _from_arrow(pyarrow, column, name, path, is_code=False)
        texts = [text or "" for text in column.cast(pyarrow.string()).to_pylist()]
        return RawColumn(np.array(texts, object), missing) if _is_respelled(raw, texts) else raw
    if types.is_integer(kind):
        values = column.fill_null(0).to_numpy()
        is_wide = values.max(initial=0) > np.iinfo(np.int64).max  # uint64
        return RawColumn(values.astype(np.float64 if is_wide else np.int64), missing)
    if types.is_floating(kind) or types.is_decimal(kind):
        values = column.cast(pyarrow.float64(), safe=False).fill_null(0.0).to_numpy()
        return RawColumn(values, missing | np.isnan(values))
    is_list = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    todo = (
        "to learn vectors, save them as rows of an array, np.save('x.npy', np.stack(column)), and "
        "use --dataset arrays; otherwise"
        if is_list
        else "convert it to numbers or text, or"
    )
    raise UserError(
        f"the column {name!r} of {path} holds {kind}: {todo} select other columns with "
        f"--dataset.columns"
    )
