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
      earlier: what the results that were read from the file had cost, in seconds
        on the clock and of CPU time.

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
        self._found: list[tuple[dict[str, Any], Any]] = []
        self.earlier = (0.0, 0.0)
        for record in _read(path) if path is not None else []:
            if record["settings"] == settings:
                self._found.append((record["entry"], record["result"]))
                seconds, cpu_seconds = self.earlier
                self.earlier = (
                    seconds + record.get("seconds", 0.0),
                    cpu_seconds + record.get("cpu_seconds", 0.0),
                )
        if self._found:
            print(f"going on after {len(self._found)} results in {path}; remove it to start anew")

    def __call__(self, entry: dict[str, Any], compute: Callable[..., Any]) -> Any:
        """The result for an entry, that is `compute(**entry)`."""
        for known, result in self._found:
            if known == entry:
                return result
        wall, cpu = time.perf_counter(), time.process_time()
        result = compute(**entry)
        cost = {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}
        self._found.append((entry, result))
        if self._path is not None:
            record = {"entry": entry, "settings": self._settings, "result": result, **cost}
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
