"""Results of a long figure, kept one by one, so that an interrupted run goes on."""

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
    """Computes what its file does not hold yet, and adds it there at once.

    Args:
      path: of JSON lines, made when the first result comes; none is kept without one.
      settings: of the run; results of others are left alone. These, entries and results
        are JSON types.

    Attributes:
      earlier: what the results that were asked for and read from the file had cost, in
        seconds on the clock and of CPU time.

    Example:
      >>> import pathlib, tempfile
      >>> path = pathlib.Path(tempfile.mkdtemp()) / "squares.jsonl"
      >>> ResultCache(path, {})({"x": 3}, lambda x: x * x)
      9
      >>> ResultCache(path, {})({"x": 3}, lambda x: 0 / 0)  # doctest: +ELLIPSIS
      going on after 1 results in ...
      9
    """

    def __init__(self, path: Path | None, settings: dict[str, Any]):
        self._path, self._settings = path, settings
        records = [] if path is None else _read(path)
        self._kept = [record for record in records if record["settings"] == settings]
        self._made: list[dict[str, Any]] = []
        self._asked: list[int] = []
        if self._kept:
            print(f"going on after {len(self._kept)} results in {path}; remove it to start anew")

    @property
    def earlier(self) -> tuple[float, float]:
        seconds, cpu_seconds = (
            sum(self._kept[i].get(name, 0.0) for i in self._asked)
            for name in ("seconds", "cpu_seconds")
        )
        return seconds, cpu_seconds

    def __call__(self, entry: dict[str, Any], compute: Callable[..., Any]) -> Any:
        """The result for an entry, that is `compute(**entry)`."""
        for i, record in enumerate(self._kept):
            if record["entry"] == entry:
                self._asked += [] if i in self._asked else [i]
                return record["result"]
        for record in self._made:
            if record["entry"] == entry:
                return record["result"]
        wall, cpu = time.perf_counter(), time.process_time()
        result = compute(**entry)
        cost = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        record = {"entry": entry, "settings": self._settings, "result": result, **cost}
        self._made.append(record)
        if self._path is not None:
            with open_append(self._path) as file:
                file.write((json.dumps(record) + "\n").encode())
        return result


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The whole lines of the file; one that a killed run left torn is passed over."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; remove it") from error
    for line in text.splitlines():
        with contextlib.suppress(ValueError, RecursionError):
            record = json.loads(line)
            if isinstance(record, dict) and {"settings", "entry", "result"} <= record.keys():
                yield record
