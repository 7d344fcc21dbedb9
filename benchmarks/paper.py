"""Estimate of 8 or 256 chips on paper, from FLOPs, bytes moved and messages. Nothing is run.

    python -m benchmarks.paper

An iteration takes the longer of arithmetic and memory traffic, followed by its all-reduces,
which do not overlap with it: a pessimistic sum. The batch is sharded, 64 per chip; weights are
replicated. `python -m benchmarks.accelerator --rows W4` takes a minute and measures what is
assumed here for one chip.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

from benchmarks.speed.workloads import N_CRITIC, WORKLOADS, Workload

_SHARE_OF_PEAK = 0.3  # assumed for convolutions in bfloat16
_WEIGHT_PASSES = 8  # forward, twice backward, gradient twice, second moment twice, update
_ACTIVATION_PASSES = 6  # written and read by the layer, its norm and the backward pass
_HALF, _SINGLE = 2, 4  # bytes


class Cluster(NamedTuple):
    """Chips and their interconnect, from data sheets.

    Attributes:
      about: its name.
      chips: number of chips.
      flops: FLOP/s of one chip in bfloat16.
      memory: bytes per second from a chip's own memory.
      wire: bytes per second that a chip sends while all do.
      latency: seconds of an empty all-reduce.
    """

    about: str
    chips: int
    flops: float
    memory: float
    wire: float
    latency: float


CLUSTERS = [
    Cluster("1 H100", 1, 989e12, 3.35e12, 450e9, 0.0),
    Cluster("8 H100, NVLink", 8, 989e12, 3.35e12, 450e9, 15e-6),
    Cluster("256 H100, 400 Gbit/s each", 256, 989e12, 3.35e12, 50e9, 60e-6),
    Cluster("1 TPU v5e", 1, 197e12, 819e9, 100e9, 0.0),
    Cluster("8 TPU v5e", 8, 197e12, 819e9, 100e9, 10e-6),
    Cluster("256 TPU v5e, one pod", 256, 197e12, 819e9, 100e9, 40e-6),
]


class Cost(NamedTuple):
    """Seconds of one iteration on each chip, by kind of work."""

    arithmetic: float
    memory: float
    gradients: float
    statistics: float

    @property
    def total(self) -> float:
        return max(self.arithmetic, self.memory) + self.gradients + self.statistics


def cost(workload: Workload, cluster: Cluster) -> Cost:
    """Return the cost of a DCGAN whose `batch` is that of each chip."""
    widths, sides = layers(workload)
    generator, critic = parameters(workload)
    updated = N_CRITIC * critic + generator
    activations = sum(side**2 * width for side, width in zip(sides, widths[1:], strict=True))
    # The critic sees 2 batches in each of its steps and 1 in the generator's, which has 1 + n more.
    seen = workload.batch * activations * (2 * N_CRITIC + 1 + N_CRITIC + 1)
    moved = _SINGLE * _WEIGHT_PASSES * updated + _HALF * _ACTIVATION_PASSES * seen
    norms = (2 * N_CRITIC + N_CRITIC + 2) * 2 * (len(sides) - 1)  # mean and square, in each pass
    ring = 2 * (cluster.chips - 1) / cluster.chips
    return Cost(
        arithmetic=workload.gflop() * 1e9 / (_SHARE_OF_PEAK * cluster.flops),
        memory=moved / cluster.memory,
        gradients=ring * _SINGLE * updated / cluster.wire + (N_CRITIC + 1) * cluster.latency,
        statistics=norms * cluster.latency,
    )


def layers(workload: Workload) -> tuple[list[int], list[int]]:
    """Return channels from the image inward, and the image side after each halving."""
    pixels, channels, filters = workload.image
    stages = pixels.bit_length() - 3
    widths = [channels, *(filters * 2**stage for stage in range(stages))]
    return widths, [pixels >> stage + 1 for stage in range(stages)]


def parameters(workload: Workload) -> tuple[int, int]:
    """Return the parameter counts of generator and critic, without those of the norms."""
    widths, _ = layers(workload)
    kernels = sum(16 * a * b for a, b in itertools.pairwise(widths))
    return kernels + 16 * workload.latent * widths[-1], kernels + 16 * widths[-1]


def table(workload: Workload) -> list[str]:
    lines = [
        "| chips | arithmetic | memory | gradients | batch norm | iteration | images/s | "
        "scaling efficiency |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for cluster in CLUSTERS:
        estimate = cost(workload, cluster)
        single = cost(workload, cluster._replace(chips=1, latency=0.0))
        parts = " | ".join(f"{1e3 * seconds:.2f}" for seconds in estimate)
        images = cluster.chips * workload.batch * N_CRITIC / estimate.total
        lines.append(
            f"| {cluster.about} | {parts} | {1e3 * estimate.total:.2f} ms | {images:,.0f} | "
            f"{single.total / estimate.total:.0%} |"
        )
    return lines


if __name__ == "__main__":
    print(f"{WORKLOADS['W4'].about}, 64 images per chip. AN ESTIMATE ON PAPER; nothing was run.\n")
    print(*table(WORKLOADS["W4"]), sep="\n")
