"""One contender in a process of its own: it builds, says so, and times windows on request.

Processes compile side by side, where one process would compile one contender after another.
A line of JSON on standard input is the request; each line after it is a number of iterations,
answered by a line with their time.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.accelerator import reference
from benchmarks.accelerator.rows import sized
from benchmarks.accelerator.variants import Variant, contender, precision_of
from benchmarks.speed.measure import window


def main() -> None:
    # Libraries print; only answers may reach the standard output that the coordinator reads.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)

    def answer(**found: Any) -> None:
        print(json.dumps(found), file=answers)

    request = json.loads(sys.stdin.readline())
    try:
        if request["workload"]:
            serve(request, answer)
        else:
            tell_device(request, answer)
    except Exception as error:  # a variant that this machine does not support
        first = (str(error).strip() or "no message").splitlines()[0]
        answer(error=f"{type(error).__name__}: {first:.200}")


def serve(request: dict[str, Any], answer: Any) -> None:
    workload = sized(request["workload"], request["rehearse"])
    variant = Variant(*request["variant"])
    began = time.perf_counter()
    with precision_of(variant):
        built = contender(variant, workload)
        if request["reference"]:
            reference.check(Path(request["reference"]), variant, built, workload)
        step = variant.options.get("chunk", 1)
        built.iterate(step)
        compiled = time.perf_counter() - began
        first = window(built, step).seconds
        answer(step=step, seconds=first, built_s=compiled, memory=peak_memory(variant))
        for line in sys.stdin:
            answer(seconds=window(built, int(line)).seconds)


def tell_device(request: dict[str, Any], answer: Any) -> None:
    import jax

    from benchmarks.accelerator.peaks import peaks

    device = jax.devices()[0].device_kind
    answer(device=device, backend=jax.default_backend())
    for _ in sys.stdin:
        answer(peaks=peaks(device, request["rehearse"]))


def peak_memory(variant: Variant) -> float | None:
    """Return the MiB that this process has taken at most on an accelerator."""
    if variant.package == "torch":
        import torch

        return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    import jax

    statistics = jax.local_devices()[0].memory_stats()
    return statistics["peak_bytes_in_use"] / 2**20 if statistics else None


if __name__ == "__main__":
    main()
