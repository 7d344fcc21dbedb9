"""Interface of the contenders, and the data that all of them see."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from benchmarks.speed.workloads import Workload

EXAMPLES = 2_048


class Contender(Protocol):
    """One implementation of a workload.

    `iterate(n)` runs n generator iterations and waits for them. `parameters` returns
    the counts of generator and critic. `critic_loss` is E f(g(z)) - E f(x) in training
    mode with the weights of PyTorch networks in `states`.
    """

    def iterate(self, n: int) -> None: ...

    def parameters(self) -> tuple[int, int]: ...

    def critic_loss(self, states: Any, z: np.ndarray, x: np.ndarray) -> float: ...


def images(workload: Workload) -> np.ndarray:
    """Return uint8 [n, pixels, pixels, channels]; only number and type matter for speed."""
    pixels, channels, _ = workload.image
    shape = (EXAMPLES, pixels, pixels, channels)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def probe(workload: Workload) -> tuple[np.ndarray, np.ndarray]:
    """Return latents and real samples (NHWC) on which all contenders must have equal losses."""
    rng = np.random.default_rng(1)
    z = rng.normal(size=(workload.batch, workload.latent)).astype(np.float32)
    if workload.widths:
        return z, rng.normal(size=(workload.batch, 2)).astype(np.float32)
    return z, images(workload)[: workload.batch].astype(np.float32) / 127.5 - 1
