"""Writers of samples as .csv and .parquet tables, one block of rows at a time."""

from __future__ import annotations

import csv
import io
import types
from collections.abc import Iterable
from typing import Any, BinaryIO

import numpy as np

from wgan_jax.errors import UserError, install_extra

Table = dict[str, np.ndarray]


def write_csv(blocks: Iterable[Table], file: BinaryIO) -> None:
    """Writes a header of column names and then the rows, in UTF-8.

    Example:
      >>> file = io.BytesIO()
      >>> write_csv([{"age": np.array([40, 9]), "pet": np.array(["cat", "a, b"])}], file)
      >>> file.getvalue().decode().split()
      ['age,pet', '40,cat', '9,"a,', 'b"']
    """
    text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
    # Before Python 3.13, only characters of the line end and commas are quoted, but readers also
    # end a line at a lone "\r", so the line end contains one.
    lines = types.SimpleNamespace(write=lambda line: text.write(f"{line[:-2]}\n"))
    writer = csv.writer(lines, lineterminator="\r\n")
    for number, block in enumerate(blocks):
        if number == 0:
            writer.writerow(block)
        # `str` gives numbers the digits that identify them within their dtype.
        writer.writerows(zip(*(map(str, values) for values in block.values()), strict=True))
    text.detach()


def write_parquet(blocks: Iterable[Table], file: BinaryIO) -> None:
    """Writes columns with their names and types.

    Raises:
      UserError: pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise UserError(f"parquet needs an extra; run: {install_extra('tables')}") from error
    writer: Any = None
    for block in blocks:
        columns = {
            name: pyarrow.array(values.tolist(), _type(pyarrow, values.dtype))
            for name, values in block.items()
        }
        table = pyarrow.table(columns)
        if writer is None:
            writer = parquet.ParquetWriter(file, table.schema)
        writer.write_table(table)
    writer.close()


def _type(pyarrow: Any, dtype: np.dtype) -> Any:
    return pyarrow.string() if dtype.kind in "UO" else pyarrow.from_numpy_dtype(dtype)
