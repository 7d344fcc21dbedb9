"""On-disk cache of a long figure's results, from which an interrupted run resumes."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from wgan_jax.errors import UserError
from wgan_jax.files import open_append


class ResultCache:
    """Computes the results that its file does not hold yet, and appends each at once.

    Args:
      path: file of JSON lines, created with the first result; None keeps nothing.
      settings: settings of the run; results of others are ignored. Settings, entries
        and results must be JSON types.

    Attributes:
      earlier: wall-clock and CPU seconds spent earlier on the results that were requested
        and read from the file.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "squares.jsonl"
      >>> ResultCache(path, {})({"x": 3}, lambda x: x * x)
      9
      >>> ResultCache(path, {})({"x": 3}, lambda x: 0 / 0)  # doctest: +ELLIPSIS
      resuming after 1 results in ...
      9
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]):
        self._path, self._settings = path, settings
        text = "" if path is None else _read(path)
        # A killed run may have left half a line, which must not swallow the next record.
        self._separator = "" if not text or text.endswith("\n") else "\n"
        self._loaded = [record for record in _records(text) if record["settings"] == settings]
        self._computed: list[dict[str, Any]] = []
        self._requested: list[int] = []
        if self._loaded:
            print(f"resuming after {len(self._loaded)} results in {path}; remove it to start over")

    @property
    def earlier(self) -> tuple[float, float]:
        seconds, cpu_seconds = (
            sum(self._loaded[i].get(name, 0.0) for i in self._requested)
            for name in ("seconds", "cpu_seconds")
        )
        return seconds, cpu_seconds

    def __call__(self, entry: dict[str, Any], compute: Callable[..., Any]) -> Any:
        """Return the result for an entry, `compute(**entry)`."""
        for i, record in enumerate(self._loaded):
            if record["entry"] == entry:
                self._requested += [] if i in self._requested else [i]
                return record["result"]
        for record in self._computed:
            if record["entry"] == entry:
                return record["result"]
        wall, cpu = time.perf_counter(), time.process_time()
        result = compute(**entry)
        cost = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        record = {"entry": entry, "settings": self._settings, "result": result, **cost}
        self._computed.append(record)
        if self._path is not None:
            try:
                with open_append(self._path) as file:
                    file.write(f"{self._separator}{json.dumps(record)}\n".encode())
            except OSError as error:
                raise UserError(
                    f"{self._path} cannot be written: {error.strerror}; earlier results are kept, "
                    f"and the same command resumes from them"
                ) from error
            self._separator = ""
        return result


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; remove it") from error


def _records(text: str) -> Iterator[dict[str, Any]]:
    """Yield the valid records; skip a line that a killed run left incomplete."""
    for line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and {"settings", "entry", "result"} <= record.keys():
                yield record
