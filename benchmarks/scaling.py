"""Cost of a generator iteration as one size changes. A row in a minute:

    python -m benchmarks.scaling width --rounds 1

    python -m benchmarks.scaling [batch width filters pixels members devices] [--rounds N]
                                 [--out FILE]

Each row changes one size of a workload and keeps the others. Windows are interleaved;
the table shows medians, and the cost and the FLOPs relative to the first entry of the row.
The devices are simulated and share the cores of one machine: they show the cost of sharding
a batch, not the gain from more hardware; for that there is an estimate on paper,
`python -m benchmarks.paper`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

from benchmarks.speed.workloads import WORKLOADS, Workload

_DEVICES = (1, 2, 4, 8)


def points(axis: str) -> dict[str, Workload]:
    """Return the workloads of a row, by the size that changes."""
    toy, image = WORKLOADS["W1"], WORKLOADS["W3"]
    match axis:
        case "batch":
            return {str(n): toy._replace(batch=n) for n in (64, 128, 256, 512, 1024)}
        case "width":
            return {str(w): toy._replace(widths=(w,) * 3) for w in (64, 128, 256, 512, 1024)}
        case "filters":
            return {str(f): image._replace(image=(32, 1, f)) for f in (16, 32, 64, 128)}
        case "pixels":
            return {str(p): image._replace(image=(p, 3, 32)) for p in (16, 32, 64)}
        case "members":
            return {str(m): toy._replace(widths=(128,) * 3, seeds=m) for m in (1, 4, 16, 64)}
    raise ValueError(f"unknown axis {axis!r}")


def measured(workloads: dict[str, Workload], rounds: int) -> dict[str, float]:
    """Return seconds per iteration of each workload."""
    from benchmarks.speed.measure import interleave, median
    from benchmarks.speed.ours import Ours

    chunk = {label: 10 if w.widths else 2 for label, w in workloads.items()}
    built = {label: Ours(w, chunk[label]) for label, w in workloads.items()}
    for label, contender in built.items():
        contender.iterate(chunk[label])
    seconds = interleave(built, chunk, rounds, 0.05)
    return {label: median(s) for label, s in seconds.items()}


def on_devices(rounds: int) -> dict[str, float]:
    """Return seconds per iteration by number of simulated devices, each in its own process."""
    timings = {}
    for count in _DEVICES:
        flags = f"--xla_force_host_platform_device_count={count}"
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scaling", "--here", "--rounds", str(rounds)],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            capture_output=True,
            text=True,
            check=True,
        )
        timings[str(count)] = float(done.stdout)
    return timings


def spread_over_all_devices(rounds: int) -> float:
    """Return seconds per iteration of W1 with its batch sharded over this process's devices."""
    import statistics

    import jax
    import optax

    from benchmarks.speed.ours import networks
    from benchmarks.speed.workloads import N_CRITIC, RATE, C
    from wgan_jax import Wasserstein, clip_weights, from_linen, gan, scan_steps, toy
    from wgan_jax.sharding import data_mesh, replicated, shard_batches

    workload, mesh = WORKLOADS["W1"], data_mesh()
    model = gan(
        *map(from_linen, networks(workload)),
        Wasserstein(),
        generator_tx=optax.rmsprop(RATE),
        critic_tx=optax.chain(optax.rmsprop(RATE), clip_weights(C)),
        latent=shard_batches(lambda key, n: jax.random.normal(key, (n, 2)), mesh),
    )
    data = shard_batches(toy.Ring(), mesh)
    state = replicated(model.init(jax.random.key(0), data(jax.random.key(1), 256)), mesh)
    run = scan_steps(model, n_critic=N_CRITIC, batch_size=256, length=10)
    seconds = []
    for _ in range(rounds + 1):
        began = time.perf_counter()
        state, _ = jax.block_until_ready(run(state, data))
        seconds.append((time.perf_counter() - began) / 10)
    return statistics.median(seconds[1:])


def table(axis: str, timings: dict[str, float]) -> str:
    """Format milliseconds, and time and FLOPs relative to the first; devices share the FLOPs."""
    work = {label: 1.0 for label in timings}
    if axis != "devices":
        work = {label: workload.gflop() for label, workload in points(axis).items()}
    first, least = next(iter(timings.values())), next(iter(work.values()))
    lines = [f"{axis:>8}{'ms / iteration':>16}{'relative time':>20}{'FLOPs':>10}"]
    for label, seconds in timings.items():
        relative = f"{seconds / first:20.2f}{work[label] / least:10.2f}"
        lines.append(f"{label:>8}{1e3 * seconds:16.2f}{relative}")
    if axis == "devices":
        lines.append(
            "simulated devices of one machine: the cost of sharding, not the gain from hardware"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    axes = ("batch", "width", "filters", "pixels", "members", "devices")
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("axes", nargs="*", metavar="AXIS", help=f"any of {', '.join(axes)}")
    parser.add_argument("--rounds", type=int, default=5, help="timing windows per point")
    parser.add_argument("--out", help="write the numbers as JSON")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        print(spread_over_all_devices(arguments.rounds))
        return
    if unknown := set(arguments.axes) - set(axes):
        parser.error(f"unknown axes {sorted(unknown)}; known: {', '.join(axes)}")
    results: dict[str, Any] = {}
    for axis in arguments.axes or axes:
        rounds = arguments.rounds
        results[axis] = on_devices(rounds) if axis == "devices" else measured(points(axis), rounds)
        print(table(axis, results[axis]), flush=True)
    if arguments.out:
        with open(arguments.out, "w") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
