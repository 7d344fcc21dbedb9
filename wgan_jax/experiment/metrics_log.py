"""Reading and writing of metrics.jsonl: JSON lines ordered by `step`, in bounded memory."""

from __future__ import annotations

import collections
import contextlib
import errno
import json
import logging
import math
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wgan_jax.errors import UserError
from wgan_jax.files import atomic_write, open_append, open_regular, sync_folder

logger = logging.getLogger(__name__)

Line = dict[str, Any]

_MAX_LINE, _MAX_STEP = 2**24, 10**18
# Matches lines as a run writes them, four times as fast as a JSON parser; others are parsed.
_NUMBER = rb"-?(?:0|[1-9]\d*+)(?:\.\d++)?+(?:[eE][-+]?+\d++)?+"
_LIST = rb"\[(?:(?:%b|null)(?:, (?=[^\]])|(?=\])))*+\]" % _NUMBER
_COMMON_LINE = re.compile(
    rb'\{"step": (0|[1-9]\d{0,17}+)(?:, "[^"\\\x00-\x1f\x80-\xff]*+": (?:%b|null|%b))*+\}\n'
    % (_NUMBER, _LIST)
)
_EVALUATION = (b'"w1/', b'"health/')
_GOLDEN, _ONE = 2654435769, 2**32


class MetricsLog:
    """A metrics.jsonl file to append lines to."""

    def __init__(self, path: Path, step: int):
        """Open the log for lines after `step`.

        Later lines, which the run will write again, are dropped, as is a truncated last line.
        Other damaged lines are moved to a separate file, as are all former lines if the run
        starts over.

        Raises:
          UserError: not a regular file, or it cannot be read or written.
        """
        self._path = path
        try:
            end, last, rewrite = self._scan(step)
            if step == 0 and last:
                self._archive(last)
                end = 0
            elif rewrite:
                end = self._rewrite(step)
            self._file = open_append(path)
            self._file.truncate(end)
            self.sync()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error

    def write(self, line: Line) -> None:
        """Append a line, without non-finite values, which JSON cannot represent.

        Raises:
          UserError: the file cannot be written.
        """
        finite = {
            name: value
            for name, value in line.items()
            if not isinstance(value, float) or math.isfinite(value)
        }
        try:
            self._file.write((json.dumps(finite) + "\n").encode())
            self._file.flush()
        except OSError as error:
            raise UserError(f"{self._path} cannot be written: {error.strerror}") from error

    def sync(self) -> None:
        """Wait until all lines are on disk, as required before a checkpoint is saved.

        Raises:
          UserError: the file cannot be written.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise UserError(f"{self._path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a failed write was already reported
            self._file.close()

    def _scan(self, step: int) -> tuple[int, int, bool]:
        """Return where the lines up to `step` end, the last step, and whether to rewrite the
        file because other lines lie between them."""
        at, end, last, between, rewrite = 0, 0, 0, False, False
        for text in _lines(self._path):
            at += len(text)
            line_step = _step(text)
            if line_step is None:
                rewrite |= text.endswith(b"\n")
            elif line_step > step:
                between, last = True, max(last, line_step)
            else:
                # A line without a line end is unfinished, whatever it holds.
                rewrite |= between or not text.endswith(b"\n")
                end, last = at, max(last, line_step)
        return end, last, rewrite

    def _rewrite(self, step: int) -> int:
        """Keep the good lines up to `step`, and move damaged lines to another file."""
        archive, damaged = self._sibling("damaged"), 0
        with contextlib.ExitStack() as stack:
            file, rejects = stack.enter_context(atomic_write(self._path)), None
            for text in _lines(self._path):
                line_step = _step(text)
                if line_step is not None and line_step <= step:
                    file.write(text.rstrip(b"\r\n") + b"\n")
                elif line_step is None and text.endswith(b"\n"):
                    rejects = rejects or stack.enter_context(open_append(archive))
                    rejects.write(text)
                    damaged += 1
            if rejects is not None:
                rejects.flush()
                os.fsync(rejects.fileno())
            end = file.tell()
        if damaged:
            lines = "1 damaged line" if damaged == 1 else f"{damaged:,} damaged lines"
            logger.warning("%s: %s moved to %s, all others kept", self._path, lines, archive.name)
        return end

    def _archive(self, last: int) -> None:
        archive = self._sibling("old")
        self._path.replace(archive)
        sync_folder(archive.parent)
        logger.warning(
            "%s ends at step %s, but there is no checkpoint: the run starts over, and the file is "
            "kept as %s",
            *(self._path, f"{last:,}", archive.name),
        )

    def _sibling(self, word: str) -> Path:
        return self._path.with_name(f"{self._path.stem}.{word}{self._path.suffix}")


def read_metrics(path: Path, most: int | None = None) -> list[Line]:
    """Return the lines of a metrics.jsonl, without damaged ones.

    Args:
      path: path of the file; a missing file has no lines.
      most: approximate number of lines to return. A file with more than twice as many is
        thinned out evenly, separately for lines with and without an evaluation; the first
        and the last line are always included.

    Raises:
      UserError: not a regular file, or it cannot be read.
    """
    return list(iter_metrics(path, most))


def iter_metrics(path: Path, most: int | None = None) -> Iterator[Line]:
    """Yield the lines of `read_metrics` one by one."""
    try:
        lines: Iterable[bytes] = _lines(path)
        for text in lines if most is None else _thinned(lines, most):
            if (line := _parse(text)) is not None:
                yield line
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _lines(path: Path) -> Iterator[bytes]:
    with contextlib.suppress(FileNotFoundError), open_regular(path) as file:
        while text := file.readline(_MAX_LINE):
            if len(text) == _MAX_LINE:  # a file without line ends may be endless
                raise OSError(errno.EFBIG, f"a line has more than {_MAX_LINE:,} bytes")
            yield text


def _step(text: bytes) -> int | None:
    """Return the step of a line; None if it is damaged."""
    if match := _COMMON_LINE.fullmatch(text):
        return int(match[1])
    line = _parse(text)
    return None if line is None else line["step"]


def _parse(text: bytes) -> Line | None:
    try:
        line = json.loads(text.decode())
    except (ValueError, RecursionError):
        return None
    step = line.get("step") if isinstance(line, dict) else None
    return line if type(step) is int and 0 <= step < _MAX_STEP else None


class _Sample:
    """An evenly spaced sample of at most 2 `most` of the added lines.

    Multiples of the golden ratio choose the lines, so the choice shares no period with
    the lines, such as that of a warm-up.
    """

    def __init__(self, most: int):
        self._most, self._below = most, _ONE
        self.lines: dict[int, bytes] = {}

    def add(self, number: int, text: bytes) -> None:
        if number * _GOLDEN % _ONE >= self._below:
            return
        self.lines[number] = text
        if len(self.lines) > 2 * self._most:
            self._below //= 2
            lines = {i: line for i, line in self.lines.items() if i * _GOLDEN % _ONE < self._below}
            self.lines = lines


def _thinned(lines: Iterable[bytes], most: int) -> list[bytes]:
    usual, evaluations = _Sample(most), _Sample(most)
    ends: collections.deque[tuple[int, bytes]] = collections.deque(maxlen=2)
    for number, text in enumerate(lines):
        is_evaluation = any(mark in text for mark in _EVALUATION)
        (evaluations if is_evaluation else usual).add(number, text)
        ends.append((number, text))
    chosen = usual.lines | evaluations.lines | dict(ends)
    return [chosen[number] for number in sorted(chosen)]
