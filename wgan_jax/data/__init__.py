"""Data sets: toy distributions, images, arrays and tables."""

from typing import Any

_NODES = {
    "Arrays": "own_arrays",
    "Folder": "folder",
    "HuggingFace": "huggingface",
    "Table": "table",
}


def __getattr__(name: str) -> Any:
    """Import the configs of user-supplied data on first access."""
    from importlib import import_module

    if name not in _NODES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_NODES[name]}"), name)
