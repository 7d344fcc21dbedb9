"""Reads the files of a workdir, which are untrusted."""

from __future__ import annotations

import base64
import functools
import io
import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from wgan_jax.errors import UserError
from wgan_jax.experiment.metrics_log import read_metrics
from wgan_jax.files import open_regular, read_file

_PICTURES, _PIXELS, _LINES = 12, 640, 5_000
_LARGEST_JSON = 2**23
_LARGEST_PICTURE, _MOST_PIXELS = 2**25, 2**26  # per picture, and in total
_BROKEN = (OSError, ValueError, SyntaxError, Warning, Image.DecompressionBombError)

Lines = list[dict[str, Any]]


class RunArtifacts(NamedTuple):
    """Contents of a workdir, as far as they can be read."""

    name: str
    config: dict[str, Any]
    lines: Lines
    evaluation: dict[str, Any]
    members: Lines
    machine: dict[str, Any]
    pictures: list[tuple[int, str]]
    data: str | None
    nearest: str | None


def read_artifacts(workdir: Path) -> RunArtifacts:
    """Read the files of a workdir; only config.json is required.

    Raises:
      UserError: config.json is missing, or is not a JSON object.
    """
    config = _read_json(workdir / "config.json", dict)
    if config is None:
        raise UserError(f"{workdir} is not a workdir: it has no readable config.json")
    members = _read_json(workdir / "members.json", list) or []
    return RunArtifacts(
        name=workdir.resolve().name,
        config=config,
        lines=[
            {name: value for name, value in line.items() if is_number(value)}
            for line in read_metrics(workdir / "metrics.jsonl", _LINES)
        ],
        evaluation=_read_json(workdir / "evaluation.json", dict) or {},
        members=[row for row in members if isinstance(row, dict)],
        machine=_read_json(workdir / "machine.json", dict) or {},
        pictures=read_pictures(workdir / "samples"),
        data=_data_uri(workdir / "samples" / "data.png"),
        nearest=_data_uri(workdir / "nearest.png"),
    )


def evaluations(contents: RunArtifacts) -> Lines:
    """Return the lines with an evaluation, and that of evaluation.json if it is newer."""
    lines = [line for line in contents.lines if any(n.startswith(("w1/", "health/")) for n in line)]
    newest = flat(contents.evaluation)
    last = lines[-1]["step"] if lines else -1
    return [*lines, newest] if newest.get("step", -1) > last else lines


def flat(nested: dict[str, Any], prefix: str = "") -> dict[str, float]:
    """Return the numbers of nested objects, by path."""
    numbers: dict[str, float] = {}
    for name, value in nested.items():
        path = f"{prefix}{name}"
        if isinstance(value, dict):
            numbers |= flat(value, f"{path}/")
        elif is_number(value):
            numbers[path] = value
    return numbers


def read_pictures(folder: Path) -> list[tuple[int, str]]:
    """Return at most 12 of the pictures STEP.png as data URIs, including the first and the last.

    Fewer if they are so large that rendering the page would take long.
    """
    stems = (path.stem for path in folder.glob("*.png"))
    steps = sorted(int(name) for name in stems if _is_step(name))
    count = min(len(steps), _PICTURES)
    places = {round(i * (len(steps) - 1) / max(count - 1, 1)) for i in range(count)}
    pictures, left = [], _MOST_PIXELS
    for i in sorted(places, reverse=True):
        path = folder / f"{steps[i]}.png"
        left -= _pixels(path)
        if left >= 0 and (uri := _data_uri(path)) is not None:
            pictures.append((steps[i], uri))
    return pictures[::-1]


def _pixels(path: Path) -> int:
    """The number of pixels in a picture's header, without decoding it; 0 if it is not a PNG."""
    try:
        with open_regular(path) as file:
            width, height = Image.open(file, formats=("PNG",)).size
    except _BROKEN:
        return 0
    return width * height


def _is_step(name: str) -> bool:
    return name.isascii() and name.isdecimal() and len(name) < 16 and str(int(name)) == name


def _data_uri(path: Path) -> str | None:
    try:
        return _reencode_png(path, path.lstat().st_mtime_ns)
    except OSError:
        return None


@functools.lru_cache(maxsize=4 * _PICTURES)
def _reencode_png(path: Path, mtime_ns: int) -> str | None:
    """Re-encode a picture, small and with few colors; None if that fails."""
    out = io.BytesIO()
    try:
        with warnings.catch_warnings(), open_regular(path) as file:
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            source = Image.open(file, formats=("PNG",))
            if source.width * source.height > _LARGEST_PICTURE:
                return None
            image = source.convert("L" if source.mode in ("1", "L") else "RGB")
        image.thumbnail((_PIXELS, _PIXELS), Image.Resampling.BOX)
        if image.mode == "RGB":  # unlike median cut, an octree keeps rare colors
            image = image.quantize(method=Image.Quantize.FASTOCTREE)
        image.save(out, format="PNG", optimize=True)
    except _BROKEN:
        return None
    return f"data:image/png;base64,{base64.b64encode(out.getvalue()).decode()}"


def _read_json(path: Path, kind: type) -> Any:
    """Read the JSON value of a file; None if it cannot be read or is not of this type."""
    try:
        value = json.loads(read_file(path, _LARGEST_JSON).decode(errors="replace"))
    except (OSError, ValueError, RecursionError):
        return None
    return value if isinstance(value, kind) else None


def is_number(value: Any) -> bool:
    """Return whether a JSON value is a number that a chart or a table can show."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e100
