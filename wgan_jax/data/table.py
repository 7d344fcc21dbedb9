"""User-supplied tables as points with per-column units."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import re
from typing import Literal, NamedTuple

import numpy as np

from wgan_jax.data.columns import Column, Columns, Kind, chosen, require_few_categories
from wgan_jax.data.dataset import Units
from wgan_jax.data.rows import (
    FileConfig,
    LastRead,
    Rows,
    classes,
    is_held_out,
    log_classes,
    require_both_parts,
    rows_in_words,
    stamp,
)
from wgan_jax.data.table_files import RawColumn, files_of, is_number, read_table
from wgan_jax.data.table_parts import join, parts_of, spelled
from wgan_jax.data.units import TableUnits
from wgan_jax.errors import UserError

logger = logging.getLogger(__name__)

_STRANGE_SHARE = 0.2  # of a column: more than that is text
_PLAIN = "; write numbers without thousands separators, signs and units"
_AMOUNT = re.compile(r"^\W*\d[\d.,'\s]*\W*$")  # French thousands are cut by U+202F


@dataclasses.dataclass(frozen=True, kw_only=True)
class Table(FileConfig):
    """Rows of a .csv, .tsv or .parquet table, or of a data set of `datasets`, as points.

    Numbers and flags (true, false) are standardized for training. Samples have the units,
    categories and column names of the table.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "people.csv"
      >>> size = path.write_text("age,pet\\n40,cat\\n60,dog\\n")
      >>> data = Table(path=str(path), one_hot=("pet",)).open()
      >>> data.examples.tolist()
      [[-1.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
      >>> {name: x.tolist() for name, x in data.units.by_column(data.examples).items()}
      {'age': [40, 60], 'pet': ['cat', 'dog']}
    """

    path: str = ""
    """File of the table: .csv, .tsv, .csv.gz, .tsv.gz or .parquet, or a folder of save_to_disk; or
    a folder with two of these, called train and test, of which test is held out."""
    columns: tuple[str, ...] | None = None
    """Names of the columns to learn; by default all but label and condition."""
    one_hot: tuple[str, ...] = ()
    """Names of the columns that are categories, to be encoded as one 0 or 1 per value."""
    label: str | None = None
    """Name of the column with the class labels, for class-conditional networks."""
    condition: tuple[str, ...] | None = None
    """Names of the columns that samples are conditioned on."""
    missing: Literal["refuse", "skip"] = "refuse"
    """What to do about rows with missing values: refuse the table, or skip these rows."""
    held_out: float = 0.0
    """Fraction of the rows kept for evaluation, chosen by a hash of their content; if 0, a part
    called validation or test is held out."""

    def __post_init__(self) -> None:
        super().__post_init__()
        names = [*(self.columns or ()), *_label(self), *(self.condition or ())]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"dataset.columns, label and condition name {twice[0]!r} twice")

    @property
    def labels(self) -> bool:
        return self.label is not None

    @property
    def holds_out(self) -> bool:
        return super().holds_out or bool(self._parsed(again=False).held_out.any())

    def read(self, units: Units | None, *, again: bool) -> Rows:
        parsed = self._parsed(again=again)
        columns, numbers = parsed.columns, parsed.numbers
        if units is not None:
            columns, numbers = _former(units, parsed, self)
        name = self.label or "label"
        rest = (parsed.held_out, parsed.digest, parsed.labels, parsed.class_names, name)
        rows = Rows(columns.encode(numbers), TableUnits(columns), *rest)
        if not parsed.conditions.columns:
            return rows
        conditions = parsed.conditions.encode(parsed.numbers)
        return rows._replace(conditions=conditions, condition_units=TableUnits(parsed.conditions))

    def _parsed(self, *, again: bool) -> _Parsed:
        files = [file for part in parts_of(self.path) if part for file in files_of(part)]
        return _last(self, stamp(*files), again=again)

    def config_of_samples(self, path: str) -> Table:
        names = tuple(self.open().units.by_column(np.zeros((0, *self.example_shape()))))
        config = super().config_of_samples(path)
        one_hot = tuple(name for name in self.one_hot if name in names)
        return dataclasses.replace(config, columns=names, one_hot=one_hot, label=None)


class _Parsed(NamedTuple):
    """A table as numbers by column, with everything derived from it."""

    numbers: dict[str, np.ndarray]
    columns: Columns
    conditions: Columns
    held_out: np.ndarray
    digest: str
    labels: np.ndarray | None
    class_names: tuple[str, ...]


def _parse(table: Table) -> _Parsed:
    """Parse a table in one file, or in two parts."""
    condition = table.condition or ()
    parts = [path for path in parts_of(table.path) if path]
    if table.held_out:
        parts = parts[:1]
    read = [_read(dataclasses.replace(table, path=path)) for path in parts]
    raw = read[0] if len(read) == 1 else join(read[0], read[1], table.path)
    sizes = [len(next(iter(part.values())).values) for part in read]
    is_second = None if len(read) == 1 else np.repeat([False, True], sizes)
    label = spelled(raw.pop(table.label)) if table.label else None
    if not raw.keys() - set(condition):
        raise UserError(f"{table.path} has no column left to learn")
    coded = {name: _coded(column, name in table.one_hot, name) for name, column in raw.items()}
    _require_numbers(table, {name: raw[name] for name in raw if coded[name] is None})
    known = {name: column for name, column in coded.items() if column is not None}
    held_out, digest = _divide(table, known, label, is_second)
    fitted = {
        name: Column.fit(name, column.kind, column.numbers[~held_out], column.values)
        for name, column in known.items()
    }
    conditions = Columns(tuple(fitted.pop(name) for name in condition))
    numbers = {name: column.numbers for name, column in known.items()}
    columns = Columns(tuple(fitted.values()))
    if label is None:
        return _Parsed(numbers, columns, conditions, held_out, digest, None, ())
    labels, names = classes(label, f"the column {table.label!r}")
    log_classes(names, f"the column {table.label!r}")
    return _Parsed(numbers, columns, conditions, held_out, digest, labels, names)


def _read(table: Table) -> dict[str, RawColumn]:
    """Read the requested columns, without the rows to skip."""
    condition = table.condition or ()
    wanted = () if table.columns is None else (*table.columns, *condition, *_label(table))
    given = [name for name in ("columns", "label", "condition") if getattr(table, name)]
    option = " or ".join(f"--dataset.{name}" for name in given)
    raw = read_table(table.path, wanted, option, codes=(*table.one_hot, *_label(table)))
    chosen(_label(table), list(raw), "--dataset.label", table.path)
    chosen(condition, list(raw), "--dataset.condition", table.path)
    chosen(table.one_hot, list(raw), "--dataset.one-hot", table.path)
    return _without_missing(table, raw)


_last = LastRead(_parse)


def _former(units: Units, parsed: _Parsed, table: Table) -> tuple[Columns, dict[str, np.ndarray]]:
    """Return the columns that a run started with, and the table as their numbers.

    Rare categories may be absent from samples, and their numbers whole by chance.
    """
    former = units.columns if isinstance(units, TableUnits) else Columns(())
    kinds = [[(c.name, _comparable(c.kind)) for c in each] for each in (former, parsed.columns)]
    if kinds[0] != kinds[1]:
        raise UserError(
            f"{table.path} has other columns than its run started with: restore the former table, "
            f"or choose another --workdir"
        )
    numbers = dict(parsed.numbers)
    for old, new in zip(former, parsed.columns, strict=True):
        if old.kind != "category" or old.values == new.values:
            continue
        if unknown := sorted(set(new.values) - set(old.values)):
            raise UserError(
                f"{table.path} has {unknown[0]!r} in {old.name!r}, a category that its run did not "
                f"start with: restore the former table, or choose another --workdir"
            )
        index = np.array([old.values.index(value) for value in new.values])
        numbers[old.name] = index[numbers[old.name]]
    return former, numbers


def _comparable(kind: Kind) -> Kind:
    return "number" if kind == "integer" else kind


def _label(table: Table) -> tuple[str, ...]:
    return () if table.label is None else (table.label,)


def _without_missing(table: Table, raw: dict[str, RawColumn]) -> dict[str, RawColumn]:
    """Drop rows with missing values if they are to be skipped.

    Raises:
      UserError: there are such rows and they are to be refused, or no row is left.
    """
    missing = np.logical_or.reduce([column.missing for column in raw.values()])
    numbers = np.array(next(iter(raw.values())).rows or range(len(missing)))
    if table.missing == "refuse":
        for name, column in raw.items():
            if len(rows := np.flatnonzero(column.missing)):
                where = rows_in_words(numbers[rows], len(missing))
                raise UserError(
                    f"{table.path} has no value of {name!r} in {where} (--dataset.missing skip "
                    f"skips such rows)"
                )
    if missing.any():
        logger.info(
            "%s: %s of %s rows have missing values and are skipped",
            table.path,
            f"{missing.sum():,}",
            f"{len(missing):,}",
        )
        raw = {
            name: column._replace(values=column.values[~missing]) for name, column in raw.items()
        }
    if missing.all():
        raise UserError(f"{table.path} has no row with values")
    for name, column in raw.items():
        if column.values.dtype.kind == "f":
            bad = np.flatnonzero(~np.isfinite(column.values))
            if len(bad):
                where = rows_in_words(numbers[~missing][bad], len(missing))
                raise UserError(f"{table.path} has infinity in {name!r}, in {where}")
    return raw


class _Coded(NamedTuple):
    """A column as numbers [n]; a category as indices of its values."""

    kind: Kind
    numbers: np.ndarray
    values: tuple[str, ...] = ()


def _coded(column: RawColumn, is_category: bool, name: str) -> _Coded | None:
    """Return a column as numbers; None for text that is not declared a category."""
    values = column.values
    if is_category:
        different, index = np.unique(spelled(column), return_inverse=True)
        require_few_categories(name, len(different))
        return _Coded("category", index.reshape(-1), tuple(map(str, different)))
    if values.dtype.kind == "b":
        return _Coded("flag", values.astype(np.float64), column.spelling)
    if values.dtype.kind in "iu":
        return _Coded("integer", values)
    return _Coded("number", values) if values.dtype.kind == "f" else None


def _require_numbers(table: Table, text: dict[str, RawColumn]) -> None:
    """Refuse text columns that are not declared categories."""
    described = []
    for name, column in text.items():
        if strange := _not_numbers(column.values):
            more = f" (and {len(strange) - 1:,} more that are not numbers)" if strange[1:] else ""
            todo = (
                "name the column in --dataset.one-hot if it holds categories, or leave the cell "
                "empty and skip the row with --dataset.missing skip"
            )
            raise UserError(
                f"{table.path} has {strange[0][:60]!r}{more} in {name!r}, whose other values are "
                f"numbers: fix it{_PLAIN if _AMOUNT.search(strange[0]) else f', {todo}'}"
            )
        values = np.unique(column.values)
        few = ", ".join(map(repr, values[:3].tolist())) + (", ..." if len(values) > 3 else "")
        described.append(f"{name!r} ({few[:60]}: {len(values):,} values)")
    # 1,234 or 10 % or $5 in every row
    is_amount = any(all(_AMOUNT.search(str(x)) for x in c.values[:99]) for c in text.values())
    hint = _PLAIN if is_amount else ""
    if described:
        raise UserError(
            f"{table.path} has text in {', '.join(described)}: name a column of categories in "
            f"--dataset.one-hot, or list the columns to learn in --dataset.columns{hint}"
        )


def _not_numbers(values: np.ndarray) -> list[str]:
    """Return the few values that are not numbers; empty if there are many."""
    for point in (".", ","):
        strange = [str(x) for x in values if not is_number(str(x).replace(point, "."))]
        if 0 < len(strange) <= _STRANGE_SHARE * len(values):
            return strange
    return []


def _divide(
    table: Table,
    columns: dict[str, _Coded],
    label: np.ndarray | None,
    is_second: np.ndarray | None,
) -> tuple[np.ndarray, str]:
    """Return which rows are held out, by part or by hash, and the digest of all rows."""
    numbers = np.stack([column.numbers.astype("<f8") for column in columns.values()], 1)
    texts = [
        np.array(column.values, object)[column.numbers]
        for column in columns.values()
        if column.kind == "category"
    ]
    texts += [] if label is None else [label]
    # Hash the value of a category, not its index, which depends on the other rows.
    numbers[:, [column.kind == "category" for column in columns.values()]] = 0
    rows = [row.tobytes() for row in numbers]
    if texts:
        words = ("\0".join(map(str, values)).encode() for values in zip(*texts, strict=True))
        rows = [row + word for row, word in zip(rows, words, strict=True)]
    digest = hashlib.sha256("\0".join(columns).encode())
    for row in rows:
        digest.update(row)
    if is_second is not None:
        digest.update(is_second.tobytes())
        return is_second, digest.hexdigest()
    if not table.held_out:
        return np.zeros(len(rows), bool), digest.hexdigest()
    held_out = is_held_out(rows, table.held_out)
    require_both_parts(held_out, table.held_out, table.path)
    return held_out, digest.hexdigest()
