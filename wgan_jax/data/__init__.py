"""Data sets: toy distributions, images, arrays and tables."""

from typing import Any

_NODES = {
    "Arrays": "own_arrays",
    "Folder": "folder",
    "HuggingFace": "huggingface",
    "Table": "table",
}


def __getattr__(name: str) -> Any:
    """Data sets of the user's, whose modules are imported when they are asked for."""
    from importlib import import_module

    if name not in _NODES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NODES[name]}"), name)
