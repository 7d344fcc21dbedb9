"""metrics.jsonl: a JSON object a line, in the order of `step`, of any length in bounded memory."""

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

_LONGEST_LINE, _LARGEST_STEP = 2**24, 10**18
# The lines that a run writes, four times as fast as a JSON parser tells; others are parsed.
_NUMBER = rb"-?(?:0|[1-9]\d*+)(?:\.\d++)?+(?:[eE][-+]?+\d++)?+"
_LIST = rb"\[(?:(?:%b|null)(?:, (?=[^\]])|(?=\])))*+\]" % _NUMBER
_USUAL = re.compile(
    rb'\{"step": (0|[1-9]\d{0,17}+)(?:, "[^"\\\x00-\x1f\x80-\xff]*+": (?:%b|null|%b))*+\}\n'
    % (_NUMBER, _LIST)
)
_EVALUATION = (b'"w1/', b'"health/')
_GOLDEN, _ONE = 2654435769, 2**32


class MetricsLog:
    """A metrics.jsonl to add lines to."""

    def __init__(self, path: Path, step: int):
        """Open for the lines after `step`.

        Later lines, which the run is going to write again, are dropped, and so is a last
        line that was cut short. Other damaged lines move to a file of their own; where the
        run starts anew, its former lines do.

        Raises:
          UserError: the file is no regular file, or the disk refuses.
        """
        self._path = path
        try:
            end, last, rewrite = self._scan(step)
            if step == 0 and last:
                self._move_aside(last)
                end = 0
            elif rewrite:
                end = self._rewrite(step)
            self._file = open_append(path)
            self._file.truncate(end)
            self.sync()
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror}") from error

    def write(self, line: Line) -> None:
        """Append a line; values that are not finite are left out, as JSON has none.

        Raises:
          UserError: the disk refuses.
        """
        finite = {name: value for name, value in line.items() if _has_json(value)}
        try:
            self._file.write((json.dumps(finite) + "\n").encode())
            self._file.flush()
        except OSError as error:
            raise UserError(f"{self._path} cannot be written: {error.strerror}") from error

    def sync(self) -> None:
        """Wait until all lines are on the disk, as they must be before a checkpoint is.

        Raises:
          UserError: the disk refuses.
        """
        try:
            os.fsync(self._file.fileno())
        except OSError as error:
            raise UserError(f"{self._path} cannot be written: {error.strerror}") from error

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what the disk refused, it refuses again
            self._file.close()

    def _scan(self, step: int) -> tuple[int, int, bool]:
        """Where the lines up to `step` end, the step of the last line, and whether others
        lie between them."""
        at, end, last, between, rewrite = 0, 0, 0, False, False
        for text in _lines(self._path):
            at += len(text)
            found = _step(text)
            if found is None:
                rewrite |= text.endswith(b"\n")
            elif found > step:
                between, last = True, max(last, found)
            else:
                # Without a line end it was not finished, whatever it holds.
                rewrite |= between or not text.endswith(b"\n")
                end, last = at, max(last, found)
        return end, last, rewrite

    def _rewrite(self, step: int) -> int:
        """Leave the good lines up to `step` alone in the file, and move damaged ones aside."""
        aside, damaged = self._beside("damaged"), 0
        with contextlib.ExitStack() as stack:
            file, other = stack.enter_context(atomic_write(self._path)), None
            for text in _lines(self._path):
                found = _step(text)
                if found is not None and found <= step:
                    file.write(text.rstrip(b"\r\n") + b"\n")
                elif found is None and text.endswith(b"\n"):
                    other = other or stack.enter_context(open_append(aside))
                    other.write(text)
                    damaged += 1
            if other is not None:
                other.flush()
                os.fsync(other.fileno())
            end = file.tell()
        if damaged:
            lines = "1 damaged line" if damaged == 1 else f"{damaged:,} damaged lines"
            logger.warning("%s: %s moved to %s, all others stay", self._path, lines, aside.name)
        return end

    def _move_aside(self, last: int) -> None:
        aside = self._beside("old")
        self._path.replace(aside)
        sync_folder(aside.parent)
        logger.warning(
            "%s goes to step %s, but there is no checkpoint: the run starts anew, and the file is "
            "kept as %s",
            *(self._path, f"{last:,}", aside.name),
        )

    def _beside(self, word: str) -> Path:
        return self._path.with_name(f"{self._path.stem}.{word}{self._path.suffix}")


def read_metrics(path: Path, most: int | None = None) -> list[Line]:
    """The lines of a metrics.jsonl; damaged ones are left out.

    Args:
      path: of the file; an absent one has no lines.
      most: about how many to return. Of more than twice as many, lines spread evenly and
        those with an evaluation, which are thinned out apart; the first and the last are
        always among them.

    Raises:
      UserError: it is no regular file, or cannot be read.
    """
    return list(iter_metrics(path, most))


def iter_metrics(path: Path, most: int | None = None) -> Iterator[Line]:
    """As `read_metrics`, one by one."""
    try:
        lines: Iterable[bytes] = _lines(path)
        for text in lines if most is None else _thinned(lines, most):
            if (line := _parse(text)) is not None:
                yield line
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error


def _lines(path: Path) -> Iterator[bytes]:
    with contextlib.suppress(FileNotFoundError), open_regular(path) as file:
        while text := file.readline(_LONGEST_LINE):
            if len(text) == _LONGEST_LINE:  # a file of no lines at all may be endless
                raise OSError(errno.EFBIG, f"a line has more than {_LONGEST_LINE:,} bytes")
            yield text


def _step(text: bytes) -> int | None:
    """The step of a line; None if it is damaged."""
    if found := _USUAL.fullmatch(text):
        return int(found[1])
    line = _parse(text)
    return None if line is None else line["step"]


def _parse(text: bytes) -> Line | None:
    try:
        line = json.loads(text.decode())
    except (ValueError, RecursionError):
        return None
    step = line.get("step") if isinstance(line, dict) else None
    return line if type(step) is int and 0 <= step < _LARGEST_STEP else None


class _Sample:
    """At most 2 `most` of the lines that it is given, spread evenly over them.

    Multiples of the golden ratio choose them, which have no period in common with any
    that the lines may have, such as that of a warm-up.
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
            kept = {i: line for i, line in self.lines.items() if i * _GOLDEN % _ONE < self._below}
            self.lines = kept


def _thinned(lines: Iterable[bytes], most: int) -> list[bytes]:
    usual, evaluations = _Sample(most), _Sample(most)
    ends: collections.deque[tuple[int, bytes]] = collections.deque(maxlen=2)
    for number, text in enumerate(lines):
        is_evaluation = any(mark in text for mark in _EVALUATION)
        (evaluations if is_evaluation else usual).add(number, text)
        ends.append((number, text))
    chosen = usual.lines | evaluations.lines | dict(ends)
    return [chosen[number] for number in sorted(chosen)]


def _has_json(value: Any) -> bool:
    return not isinstance(value, float) or math.isfinite(value)
