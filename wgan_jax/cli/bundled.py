"""Finds the example configs by name, in a clone or in an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def bundled_config(name: str) -> Path | None:
    """Return the file of an example config such as `digits`, or None for any other name."""
    return next((path for path in _files() if path.stem == name), None)


def bundled_names() -> list[str]:
    """Return the names of the example configs."""
    return [path.stem for path in _files()]


def _files() -> list[Path]:
    installed, cloned = _PACKAGE / "configs", _PACKAGE.parent / "configs"
    folder = installed if installed.is_dir() else cloned
    return sorted(folder.glob("*.py"))
