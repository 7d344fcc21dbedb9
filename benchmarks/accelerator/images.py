"""CIFAR-10 from files, with numpy alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np

_ROW = 1 + 3 * 32 * 32  # a label, then the three planes


def cifar10_images(path: Path) -> np.ndarray:
    """Return uint8 [n, 32, 32, 3] from a .npy file or a folder of CIFAR-10's binary version.

    Raises:
      SystemExit: the path holds no such images.
    """
    if path.suffix == ".npy":
        images = np.load(path)
    else:
        files = sorted(path.rglob("data_batch_*.bin"))
        if not files:
            raise SystemExit(f"{path} is not a .npy file and holds no data_batch_*.bin")
        rows = np.concatenate([np.fromfile(file, np.uint8) for file in files]).reshape(-1, _ROW)
        images = rows[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    if images.shape[1:] != (32, 32, 3) or images.dtype != np.uint8:
        raise SystemExit(
            f"{path} holds {images.dtype}{list(images.shape)}, not uint8[n, 32, 32, 3]"
        )
    return np.ascontiguousarray(images)
