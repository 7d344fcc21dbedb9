"""Weights, samples and loss of a PyTorch network, with which all contenders must agree."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.accelerator.rows import sized
from benchmarks.accelerator.variants import Variant
from benchmarks.speed.contender import probe
from benchmarks.speed.workloads import Workload

_TOLERANCES = {"float32": 2e-3, "TF32": 2e-2, "bf16": math.inf}  # of the loss


def write(path: Path, workload: Workload) -> None:
    """Save the weights of a network, its parameter counts and its loss, computed on the CPU."""
    from benchmarks.speed.pytorch import PyTorch

    peer = PyTorch(workload)
    states = peer.states()
    arrays = {f"{i}/{name}": x for i, state in enumerate(states) for name, x in state.items()}
    arrays["counts"] = np.array(peer.parameters())
    if workload.seeds == 1:
        arrays["loss"] = np.array(peer.critic_loss(states, *probe(workload)))
    new = path.with_suffix(".new.npz")
    np.savez(new, **arrays)
    new.replace(path)


def check(path: Path, variant: Variant, contender: Any, workload: Workload) -> None:
    """Reject a contender with a different parameter count, loss or penalty gradient.

    Raises:
      ValueError: it does not do the same work as the others.
    """
    with np.load(path) as file:
        arrays = dict(file)
    counts, expected = contender.parameters(), tuple(arrays["counts"].tolist())
    if counts != expected:
        raise ValueError(f"it has {counts} parameters, not {expected}")
    if workload.seeds > 1:
        return
    states = [
        {name[2:]: x for name, x in arrays.items() if name.startswith(f"{i}/")} for i in (0, 1)
    ]
    samples, right = probe(workload), float(arrays["loss"])
    loss = contender.critic_loss(states, *samples)
    if abs(loss - right) / max(abs(right), 1e-2) > _TOLERANCES[variant.precision]:
        raise ValueError(f"its loss at the same weights is {loss:.6g}, not {right:.6g}")
    if workload.penalty and variant.package == "torch":
        from benchmarks.accelerator.penalty import check_gradient

        check_gradient(contender, workload, states, samples)


if __name__ == "__main__":
    write(Path(sys.argv[1]), sized(sys.argv[2], rehearse=sys.argv[3] == "True"))
