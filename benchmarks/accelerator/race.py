"""One workload, ours against PyTorch, in interleaved windows."""

from __future__ import annotations

import contextlib
import itertools
import math
import resource
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax

from benchmarks.accelerator.peaks import JAX_PRECISION, PRECISIONS, peaks
from benchmarks.accelerator.rows import Task
from benchmarks.speed.contender import probe
from benchmarks.speed.measure import window
from benchmarks.speed.workloads import Workload

_WINDOW = 0.2  # minimum seconds of a window
_BUILD = 0.75  # share of the budget after which no more variants are built
_CHUNK = 0.25  # share of the budget after which no longer chunks are tried
_GAIN = 0.97  # a longer chunk must take less than this share of the time
_FIRST_ROUNDS, _ROUNDS = 5, 15
_TOLERANCES = {"float32": 2e-3, "TF32": 2e-2, "bf16": math.inf}  # of the loss at the same weights


class Variant:
    """A contender, built and run within a context that sets the precision."""

    def __init__(self, build: Callable[[], Any], within: Callable[[], Any]):
        self._within = within
        with within():
            self.contender = build()

    def iterate(self, n: int) -> None:
        with self._within():
            self.contender.iterate(n)

    def critic_loss(self, *args: Any) -> float:
        with self._within():
            return self.contender.critic_loss(*args)


def race(workload: Workload, task: Task) -> None:
    device = jax.devices()[0].device_kind
    found: dict[str, Any] = {
        "about": workload.about,
        "device": device,
        "gflop": workload.gflop(),
        "peaks": {},
        "variants": {},
        "refused": {},
    }
    task.save(found)
    chunk = chosen_chunk(workload, task, found)
    found["peaks"] = peaks(device, task.rehearse)
    built: dict[str, tuple[Variant, int]] = {}
    reference = _Reference(workload)
    quick, slow = {}, {}
    for label, build in variants(workload, chunk).items():
        (slow if "compiled" in label else quick)[label] = build
    compile_ahead(workload, [chunk], [name for name in PRECISIONS if f"ours {name}" in quick])
    # PyTorch's compiler may outlast the budget, so the others are timed before it starts.
    build_all(quick, built, reference, chunk, task, found)
    time_rounds(built, _FIRST_ROUNDS, workload, task, found)
    if build_all(slow, built, reference, chunk, task, found):
        time_rounds(built, _ROUNDS, workload, task, found)


def build_all(
    builds: dict[str, Callable[[], Variant]],
    built: dict[str, tuple[Variant, int]],
    reference: _Reference,
    chunk: int,
    task: Task,
    found: dict[str, Any],
) -> bool:
    """Add what can be built in time to `built`; return whether there is anything new."""
    before = len(built)
    for label, build in builds.items():
        if task.spent() > _BUILD and {name.split()[0] for name in built} == {"ours", "torch"}:
            found["refused"][label] = "no time left"
            continue
        try:
            built[label] = made(build, label, reference, chunk)
        except Exception as error:  # a variant that this machine does not support
            first = (str(error).strip() or "no message").splitlines()[0]
            found["refused"][label] = f"{type(error).__name__}: {first:.200}"
        else:
            found["variants"][label] = {"memory": peak_memory(label, built, found)}
        task.save(found)
    return len(built) > before


def time_rounds(
    built: dict[str, tuple[Variant, int]],
    rounds: int,
    workload: Workload,
    task: Task,
    found: dict[str, Any],
) -> None:
    """Time all variants in turn, `rounds` times or until the budget is spent."""
    windows: dict[str, list[float]] = {label: [] for label in built}
    for round_ in range(rounds):
        if round_ and task.spent() > 0.95:
            break
        for label, (variant, length) in built.items():
            windows[label].append(window(variant, length).seconds)
        summarize(found, windows, workload)
        task.save(found)


def variants(workload: Workload, chunk: int) -> dict[str, Callable[[], Variant]]:
    """Return what can run, the most informative first, since time may run out."""

    def ours(precision: str) -> Variant:
        from benchmarks.speed.ours import Ours

        dtype = "bfloat16" if precision == "bf16" else "float32"
        return Variant(lambda: Ours(workload, chunk, dtype), lambda: _jax_at(precision))

    def torch(precision: str, **options: Any) -> Variant:
        import torch

        from benchmarks.speed.pytorch import PyTorch

        if precision == "bf16":
            options["dtype"] = torch.bfloat16
        return Variant(lambda: PyTorch(workload, **options), lambda: _torch_at(precision))

    fused = {"fused": True, "channels_last": bool(workload.image[0])}
    rows = [
        ("torch eager", "float32", torch, {}),
        ("ours", "TF32", ours, {}),
        ("ours", "float32", ours, {}),
        ("torch graphs", "TF32", torch, fused | {"graphs": True}),
        ("torch graphs", "bf16", torch, fused | {"graphs": True}),
        ("ours", "bf16", ours, {}),
        ("torch compiled graphs", "bf16", torch, fused | {"compiled": True, "graphs": True}),
        ("torch compiled graphs", "TF32", torch, fused | {"compiled": True, "graphs": True}),
        ("torch compiled", "TF32", torch, fused | {"compiled": True}),
        ("torch compiled", "bf16", torch, fused | {"compiled": True}),
        ("torch fused", "TF32", torch, fused),
        ("torch fused", "bf16", torch, fused),
    ]
    if jax.default_backend() != "gpu":  # without TF32 and CUDA graphs
        rows = [
            (name, "float32" if precision == "TF32" else precision, make, options)
            for name, precision, make, options in rows
            if "graphs" not in name
        ]
    return {
        f"{name} {precision}": lambda make=make, precision=precision, options=options: make(  # type: ignore[misc]
            precision, **options
        )
        for name, precision, make, options in rows
    }


@contextlib.contextmanager
def _jax_at(precision: str) -> Iterator[None]:
    with jax.default_matmul_precision(JAX_PRECISION[precision]):
        yield


@contextlib.contextmanager
def _torch_at(precision: str) -> Iterator[None]:
    import torch

    switches = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [switch.allow_tf32 for switch in switches]
    for switch in switches:
        switch.allow_tf32 = precision != "float32"
    try:
        yield
    finally:
        for switch, value in zip(switches, before, strict=True):
            switch.allow_tf32 = value


class _Reference:
    """The weights of the first PyTorch network, at which all losses must agree."""

    def __init__(self, workload: Workload):
        self._workload, self._probe = workload, probe(workload)
        self._states: Any = None

    def check(self, label: str, variant: Variant) -> None:
        """Reject a variant with a different parameter count, loss or penalty gradient.

        Raises:
          ValueError: the variant does not do the same work as the first one.
        """
        counts = variant.contender.parameters()
        if self._states is None:
            if not label.startswith("torch"):
                return
            self._counts, self._states = counts, variant.contender.states()
            if self._workload.seeds == 1:
                self._loss = variant.critic_loss(self._states, *self._probe)
        if counts != self._counts:
            raise ValueError(f"it has {counts} parameters, not {self._counts}")
        if self._workload.seeds == 1:
            loss = variant.critic_loss(self._states, *self._probe)
            error = abs(loss - self._loss) / max(abs(self._loss), 1e-2)
            if error > _TOLERANCES[label.rpartition(" ")[2]]:
                raise ValueError(
                    f"its loss at the same weights is {loss:.6g}, not {self._loss:.6g}"
                )
        if self._workload.penalty and label.startswith("torch"):
            from benchmarks.accelerator.penalty import check_gradient

            check_gradient(variant.contender, self._workload, self._states, self._probe)


def made(
    build: Callable[[], Variant], label: str, reference: _Reference, chunk: int
) -> tuple[Variant, int]:
    """Return a compiled variant and the number of iterations per window."""
    if label.startswith("torch"):
        import torch

        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
    variant = build()
    reference.check(label, variant)
    step = chunk if label.startswith("ours") else 1
    variant.iterate(step)
    seconds = window(variant, step).seconds
    return variant, step * max(1, math.ceil(_WINDOW / (seconds * step)))


def chosen_chunk(workload: Workload, task: Task, found: dict[str, Any]) -> int:
    """Return the shortest chunk that a longer one does not beat by more than a few percent."""
    from benchmarks.speed.ours import Ours

    accelerated = jax.default_backend() != "cpu"
    precision = "TF32" if accelerated else "float32"
    lengths = [1, 4] if task.rehearse or not accelerated else [10, 100]
    lengths += [1_000] if accelerated and workload.widths and workload.seeds == 1 else []
    compile_ahead(workload, lengths[:1], [precision])
    found["memory"] = jax_peak_memory()  # before other programs run: it never falls
    compile_ahead(workload, lengths[1:], [precision])
    best, chunk, seen = math.inf, lengths[0], dict[str, float]()
    for length in lengths:
        with _jax_at(precision):
            contender = Ours(workload, length)
            contender.iterate(length)
            began = time.perf_counter()
            contender.iterate(2 * length)
        seconds = (time.perf_counter() - began) / (2 * length)
        seen[str(length)] = 1e3 * seconds
        found["chunk"] = {"chosen": chunk, "ms": seen}
        task.save(found)
        if seconds > _GAIN * best:
            break
        best, chunk = seconds, length
        found["chunk"]["chosen"] = chunk
        if task.spent() > _CHUNK:
            break
    task.save(found)
    return chunk


def compile_ahead(workload: Workload, lengths: list[int], precisions: list[str]) -> None:
    """Compile ours side by side, into the cache that the timed ones read."""
    from benchmarks.speed.ours import Ours

    def run(case: tuple[int, str]) -> None:
        length, precision = case
        with _jax_at(precision):
            dtype = "bfloat16" if precision == "bf16" else "float32"
            Ours(workload, length, dtype).iterate(length)

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, itertools.product(lengths, precisions)))


def peak_memory(label: str, built: dict[str, Any], found: dict[str, Any]) -> float | None:
    """Return peak MiB; of ours only for the first variant, which is the one that was measured."""
    if label.startswith("torch"):
        import torch

        return torch.cuda.max_memory_allocated() / 2**20 if torch.cuda.is_available() else None
    first = sum(name.startswith("ours") for name in built) == 1
    return found["memory"] if first else None


def jax_peak_memory() -> float:
    statistics_ = jax.local_devices()[0].memory_stats()
    if statistics_ is None:  # on a CPU: peak of the process
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return statistics_["peak_bytes_in_use"] / 2**20


def summarize(found: dict[str, Any], windows: dict[str, list[float]], workload: Workload) -> None:
    """Add medians, shares of the peak, and medians of the ratios within a round."""
    rows = found["variants"]
    for label, seconds in windows.items():
        flops = workload.gflop() * 1e9 / statistics.median(seconds)
        peak = found["peaks"].get(label.rpartition(" ")[2], {})
        rows[label] |= {
            "ms": 1e3 * statistics.median(seconds),
            "rounds": len(seconds),
            "mfu": flops / peak["known"] if peak.get("known") else None,
            "share_of_measured": flops / peak["measured"] if peak else None,
        }
    torch = [label for label in rows if label.startswith("torch") and "ms" in rows[label]]
    if torch:
        best = min(torch, key=lambda label: rows[label]["ms"])
        found["best_torch"] = best
        for label, seconds in windows.items():
            pairs = zip(windows[best], seconds, strict=False)
            rows[label]["torch_over_this"] = statistics.median(a / b for a, b in pairs)
