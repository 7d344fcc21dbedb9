"""Speed against PyTorch and straightforward Flax. A row in a minute:

    python -m benchmarks.speed W1 --rounds 1 --only ours

    python -m benchmarks.speed [W1 W2 ...] [--rounds N] [--only NAME ...] [--out FILE]
    python -m benchmarks.speed --start W1        start-up time and peak memory, a process each

Every contender trains the same networks on the same data; parameter counts and
the critic's loss at the same weights are compared first. Rounds are interleaved;
windows in which other processes used more than a twentieth of the machine are
measured again. Ratios are to the fastest float32 PyTorch.

On a machine that is never quiet, CPU time on one core can still be compared:

    OMP_NUM_THREADS=1 taskset -c 0 python -m benchmarks.speed --clock cpu
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks.speed.measure import Clock
from benchmarks.speed.workloads import WORKLOADS, Workload

_TOLERATED = 0.05
_CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def contenders(workload: Workload) -> dict[str, Callable[[], Any]]:
    """Return what can run here, by name; each call imports what it needs."""
    import jax

    gpu = jax.default_backend() == "gpu"
    chunk = 1_000 if gpu and workload.widths else 100 if gpu else 10 if workload.widths else 1

    def ours(dtype: str = "float32") -> Any:
        from benchmarks.speed.ours import Ours

        return Ours(workload, chunk, dtype)

    def plain() -> Any:
        from benchmarks.speed.plain_flax import PlainFlax

        return PlainFlax(workload)

    def pytorch(**options: Any) -> Any:
        import torch

        from benchmarks.speed.pytorch import PyTorch

        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
        return PyTorch(workload, **options)

    def bf16(**options: Any) -> Any:
        import torch

        return pytorch(dtype=torch.bfloat16, **options)

    best = {"fused": True, "channels_last": bool(workload.image[0])}
    found: dict[str, Callable[[], Any]] = {
        "ours": ours,
        "flax, straightforward": plain,
        "torch, reference style": pytorch,
        "torch, fused": lambda: pytorch(**best),
        "torch, compiled": lambda: pytorch(compiled=True, **best),
    }
    if gpu:
        found["torch, graphs"] = lambda: pytorch(graphs=True, **best)
        found["torch, graphs bf16"] = lambda: bf16(graphs=True, **best)
    if workload.image[0]:
        found["ours, bf16"] = lambda: ours("bfloat16")
        found["torch, fused bf16"] = lambda: bf16(**best)
    return found


def measured(
    name: str, workload: Workload, only: list[str], rounds: int, clock: Clock
) -> dict[str, Any]:
    from benchmarks.speed.contender import probe
    from benchmarks.speed.measure import interleave, matmul_peak, median

    built, refused = {}, {}
    for label, build in contenders(workload).items():
        if only and label not in only:
            continue
        try:
            built[label] = build()
        except Exception as error:  # a variant that this machine does not support
            refused[label] = reason(error)
    check_same_work(built, workload, *probe(workload))
    lengths = {label: chunk_of(contender) for label, contender in built.items()}
    for label in list(built):
        try:
            built[label].iterate(lengths[label])
        except Exception as error:  # one that cannot train on this workload
            refused[label] = reason(error)
            del built[label]
    seconds = interleave(built, lengths, rounds, _TOLERATED, clock)
    peak = matmul_peak(clock=clock)
    rows = {label: {"ms": 1e3 * median(s), "rounds": len(s)} for label, s in seconds.items()}
    for row in rows.values():
        row["share_of_peak"] = workload.gflop() * 1e9 / (row["ms"] / 1e3) / peak
    return {"workload": name, "gflop": workload.gflop(), "rows": rows, "refused": refused}


def reason(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0]}"


def chunk_of(contender: Any) -> int:
    """Return the number of iterations per dispatch."""
    return max(1, getattr(contender, "_chunk", 1))


def check_same_work(
    built: dict[str, Any], workload: Workload, z: Any, x: Any, tolerance: float = 2e-3
) -> None:
    """Require equal parameter counts, and equal losses at PyTorch's initial weights."""
    counts = {label: c.parameters() for label, c in built.items()}
    if len(set(counts.values())) != 1:
        raise SystemExit(f"the networks differ in size: {counts}")
    reference = next((c for label, c in built.items() if label.startswith("torch")), None)
    if reference is None or workload.seeds > 1:
        return
    states = reference.states()
    losses = {label: c.critic_loss(states, z, x) for label, c in built.items()}
    wanted = reference.critic_loss(states, z, x)
    for label, loss in losses.items():
        if "bf16" not in label and abs(loss - wanted) > tolerance * max(abs(wanted), 1e-2):
            raise SystemExit(f"{label} has a different loss at the same weights: {losses}")


def table(result: dict[str, Any]) -> str:
    rows = result["rows"]
    torch = [
        row["ms"]
        for label, row in rows.items()
        if label.startswith("torch") and "bf16" not in label
    ]
    lines = [
        f"{result['workload']}  {WORKLOADS[result['workload']].about}, {result['gflop']:.1f} GFLOP",
        f"{'':26}{'ms / iteration':>15}{'share of peak':>15}{'torch / this':>14}{'rounds':>8}",
    ]
    for label, row in rows.items():
        ratio = f"{min(torch) / row['ms']:.2f}" if torch else "-"
        lines.append(
            f"{label:26}{row['ms']:15.2f}{row['share_of_peak']:15.0%}{ratio:>14}{row['rounds']:8}"
        )
    lines += [f"{label:26}not run: {message}" for label, message in result["refused"].items()]
    return "\n".join(lines) + "\n"


def start_up(names: list[str]) -> None:
    """Print seconds from process start to the end of the first iteration, and peak memory."""
    for name in names:
        for label in contenders(WORKLOADS[name]):
            command = [sys.executable, "-m", "benchmarks.speed", name, "--first", label]
            began = time.perf_counter()
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            seconds = time.perf_counter() - began
            memory = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
            print(f"{name}  {label:26}{seconds:8.1f} s  {memory}", flush=True)


def first_iteration(name: str, label: str) -> None:
    contender = contenders(WORKLOADS[name])[label]()
    contender.iterate(chunk_of(contender))
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB peak")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workloads", nargs="*", metavar="W", help=f"any of {', '.join(WORKLOADS)}")
    parser.add_argument("--rounds", type=int, default=7, help="timing windows per contender")
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="contenders to run")
    parser.add_argument("--clock", choices=_CLOCKS, default="wall", help="wall or CPU time")
    parser.add_argument("--out", help="write the numbers as JSON")
    parser.add_argument("--start", action="store_true", help="time start-up and show peak memory")
    parser.add_argument("--first", metavar="NAME", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    names = arguments.workloads or list(WORKLOADS)
    unknown = set(names) - set(WORKLOADS)
    if unknown:
        parser.error(f"unknown workloads {sorted(unknown)}; known: {', '.join(WORKLOADS)}")
    if arguments.first:
        return first_iteration(names[0], arguments.first)
    if arguments.start:
        return start_up(names)
    import jax

    usable = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(1)
    jax.config.update("jax_num_cpu_devices", len(usable))  # as train.py does for sweeps: W5
    print(f"{os.cpu_count()} cores, {platform.machine()}, {jax.devices()[0].device_kind}, ", end="")
    print(f"jax {jax.__version__}, {arguments.rounds} rounds\n")
    results, clock = [], _CLOCKS[arguments.clock]
    for name in names:
        results.append(measured(name, WORKLOADS[name], arguments.only, arguments.rounds, clock))
        print(table(results[-1]), flush=True)
    if arguments.out:
        with open(arguments.out, "w") as file:
            json.dump(results, file, indent=2)
    return None


if __name__ == "__main__":
    main()
