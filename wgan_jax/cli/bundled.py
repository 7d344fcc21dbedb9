"""The example configs by name, from `configs/` of a clone or from an installed package."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def bundled_config(name: str) -> Path | None:
    """The file of an example config, say `digits`; None for any other name."""
    return next((path for path in _files() if path.stem == name), None)


def bundled_names() -> list[str]:
    """The names of the example configs."""
    return [path.stem for path in _files()]


def _files() -> list[Path]:
    inside, beside = _PACKAGE / "configs", _PACKAGE.parent / "configs"
    folder = inside if inside.is_dir() else beside
    return sorted(folder.glob("*.py"))
