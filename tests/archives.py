"""Reads the arrays of an .npz file and closes it."""

from pathlib import Path

import numpy as np


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as found:
        return dict(found)
