"""Workloads, ours against PyTorch: built side by side, then timed in turn on a quiet machine."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import math
import os
import queue
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.accelerator.processes import environment, kill, last_line
from benchmarks.accelerator.rows import sized
from benchmarks.accelerator.variants import Variant, variants

_WINDOW = 0.2  # minimum seconds of a window
_ROUNDS = 15
_PATIENCE = 30.0  # seconds after which a window has failed

Save = Callable[[dict[str, Any]], None]


class Budget(NamedTuple):
    """Seconds for building all contenders, and for timing them."""

    build: float
    time: float


def race(names: list[str], budget: Budget, rehearse: bool, cache: str, save: Save) -> None:
    """Measure the named workloads; `save` gets all results so far, by name, again and again."""
    began = time.monotonic()
    variables = environment(rehearse, cache) | {"TORCHINDUCTOR_COMPILE_THREADS": "2"}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        device = stack.enter_context(
            Worker({"workload": "", "rehearse": rehearse}, variables, Path(folder, "device"))
        )
        references = written_references(names, Path(folder), rehearse, variables)
        about = device.answer(60)
        found = {
            name: {
                "about": sized(name, rehearse).about,
                "gflop": sized(name, rehearse).gflop(),
                "device": about.get("device", "unknown"),
                "peaks": {},
                "variants": {},
                "refused": {"all": about["error"]} if "error" in about else {},
            }
            for name in names
        }
        save(found)
        if "error" in about:
            return
        gpu = about["backend"] == "gpu"
        entries = [
            [(name, variant) for variant in variants(sized(name, rehearse), gpu, rehearse)]
            for name in names
        ]
        # The most informative of each workload first, since time may run out.
        cases = [case for row in itertools.zip_longest(*entries) for case in row if case]
        deadline = began + budget.build

        def start(case: tuple[str, Variant]) -> Entrant | None:
            name, variant = case
            left = deadline - time.monotonic()
            if left <= 0:
                found[name]["refused"][variant.label] = "no time left"
                return None
            request = {"workload": name, "variant": variant, "rehearse": rehearse}
            request["reference"] = str(references.get(name, ""))
            # PyTorch's gradients are compared with those of JAX, which then needs no accelerator.
            cpu = {"JAX_PLATFORMS": "cpu"} if variant.package == "torch" else {}
            errors = Path(folder, f"{name} {variant.label}")
            worker = stack.enter_context(Worker(request, variables | cpu, errors))
            built = worker.answer(left)
            if "error" in built:
                found[name]["refused"][variant.label] = built["error"]
                worker.stop()
                return None
            row = {"memory": built["memory"], "built_s": built["built_s"]}
            found[name]["variants"][variant.label] = row
            windows = math.ceil(_WINDOW / (built["seconds"] * built["step"]))
            return Entrant(name, variant, worker, built["step"] * max(1, windows))

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            entrants = [entrant for entrant in pool.map(start, cases) if entrant]
        peaks = device.ask(1, _PATIENCE).get("peaks", {})
        device.stop()
        for row in found.values():
            row["peaks"] = peaks
        save(found)
        time_rounds(entrants, time.monotonic() + budget.time, found, save)


@dataclasses.dataclass
class Entrant:
    """A contender that is ready: its process, the iterations of a window, and their times."""

    name: str
    variant: Variant
    worker: Worker
    length: int
    seconds: list[float] = dataclasses.field(default_factory=list)


def time_rounds(
    entrants: list[Entrant], deadline: float, found: dict[str, dict[str, Any]], save: Save
) -> None:
    """Time one window of each contender in turn, until there are enough or time is up."""
    for round_ in range(_ROUNDS):
        if round_ and time.monotonic() > deadline:
            return
        for entrant in list(entrants):
            reply = entrant.worker.ask(entrant.length, _PATIENCE)
            if "error" in reply:
                found[entrant.name]["refused"][entrant.variant.label] = reply["error"]
                entrant.worker.stop()
                entrants.remove(entrant)
            else:
                entrant.seconds.append(reply["seconds"])
        for name, row in found.items():
            summarize(row, [entrant for entrant in entrants if entrant.name == name])
        save(found)


def summarize(row: dict[str, Any], entrants: list[Entrant]) -> None:
    """Add medians, shares of the peak, and medians of the ratios within a round."""
    timed = row["variants"]
    for entrant in entrants:
        median = statistics.median(entrant.seconds)
        flops = row["gflop"] * 1e9 / median
        peak = row["peaks"].get(entrant.variant.precision, {})
        timed[entrant.variant.label] |= {
            "ms": 1e3 * median,
            "rounds": len(entrant.seconds),
            "mfu": flops / peak["known"] if peak.get("known") else None,
            "share_of_measured": flops / peak["measured"] if peak else None,
        }
    torch = [entrant for entrant in entrants if entrant.variant.package == "torch"]
    if torch:
        best = min(torch, key=lambda entrant: statistics.median(entrant.seconds))
        row["best_torch"] = best.variant.label
        for entrant in entrants:
            pairs = zip(best.seconds, entrant.seconds, strict=True)
            ratio = statistics.median(a / b for a, b in pairs)
            timed[entrant.variant.label]["torch_over_this"] = ratio


def written_references(
    names: list[str], folder: Path, rehearse: bool, variables: Mapping[str, str]
) -> dict[str, Path]:
    """Return a file for each workload, by PyTorch on the CPU; none where PyTorch is missing."""
    paths = {name: folder / f"{name}.npz" for name in names}
    module = [sys.executable, "-m", "benchmarks.accelerator.reference"]
    processes = [
        subprocess.Popen(
            [*module, str(path), name, str(rehearse)],
            env={**variables, "CUDA_VISIBLE_DEVICES": ""},
            stderr=subprocess.DEVNULL,
        )
        for name, path in paths.items()
    ]
    for process in processes:
        process.wait()
    return {name: path for name, path in paths.items() if path.exists()}


class Worker:
    """A process of `benchmarks.accelerator.worker`, which ends with the context."""

    def __init__(self, request: dict[str, Any], variables: Mapping[str, str], errors: Path):
        self._errors = errors
        with errors.open("w") as file:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.accelerator.worker"],
                env=dict(variables),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                bufsize=1,
                start_new_session=True,
            )
        self._answers: queue.Queue[str] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()
        self._send(json.dumps(request))

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def ask(self, iterations: int, patience: float) -> dict[str, Any]:
        """Return what the worker answers, or {"error": why it does not}."""
        self._send(str(iterations))
        return self.answer(patience)

    def answer(self, patience: float) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=patience)
        except queue.Empty:
            return {"error": f"no answer within {patience:.0f} s"}
        if line:
            return json.loads(line)
        status = self._process.wait()
        return {"error": f"ended with status {status}: {last_line(self._errors)}"}

    def stop(self) -> None:
        """Kill the process and its children."""
        kill(self._process)

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            print(line, file=self._process.stdin, flush=True)

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")  # the end
