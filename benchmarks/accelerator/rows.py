"""The rows: what each runs, its time budget, and which of them run together."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks.speed.workloads import WORKLOADS, Workload


class Task(NamedTuple):
    """The inputs of a row.

    Attributes:
      save: saves all results so far; called early and often.
      deadline: time by `time.monotonic`.
      budget: total seconds.
      rehearse: whether sizes are tiny.
      cifar10: path of the images, or empty.
    """

    save: Callable[[dict[str, Any]], None]
    deadline: float
    budget: float
    rehearse: bool
    cifar10: str

    def spent(self) -> float:
        """Return the share of the budget that is used up."""
        return 1 - (self.deadline - time.monotonic()) / self.budget


class Row(NamedTuple):
    """One row.

    Attributes:
      run: the measurement.
      seconds: its budget on an accelerator.
      rehearsal: its budget on a CPU at tiny sizes.
      xla_flags: flags that its process adds.
      needs_data: whether it is skipped without images.
    """

    run: Callable[[Task], None]
    seconds: float
    rehearsal: float = 60
    xla_flags: str = ""
    needs_data: bool = False


DCGAN_128 = Workload("DCGAN, 128 x 128 x 3, 64 filters", 64, image=(128, 3, 64))
SIZES = WORKLOADS | {"D128": DCGAN_128}


def tiny(workload: Workload) -> Workload:
    """Return the workload at a size for rehearsal on a CPU."""
    if workload.widths:
        return workload._replace(batch=16, widths=(16,) * 3, seeds=min(workload.seeds, 2))
    pixels, channels, _ = workload.image
    return workload._replace(batch=4, image=(16 if pixels < 128 else 32, channels, 4))


def sized(name: str, rehearse: bool) -> Workload:
    """Return the workload of a name, tiny for a rehearsal."""
    return tiny(SIZES[name]) if rehearse else SIZES[name]


def _behavior(name: str) -> Callable[[Task], None]:
    def run(task: Task) -> None:
        from benchmarks.accelerator import behavior

        getattr(behavior, name)(task)

    return run


ROWS = {
    "members": Row(_behavior("members"), 30),
    "bounds": Row(_behavior("bounds"), 40),
    "equal-runs": Row(_behavior("equal_runs"), 60),
    "equal-runs-by-flag": Row(
        _behavior("equal_runs"), 60, xla_flags="--xla_gpu_deterministic_ops=true"
    ),
    "cpu": Row(_behavior("same_as_on_the_cpu"), 60),
    "resume": Row(_behavior("resume"), 60),
    "cifar10": Row(_behavior("cifar10"), 45, needs_data=True),
}
# Groups run one after another. Rows of a group run together: workloads are timed in turn, and
# the other rows that share a group are not timed.
GROUPS = (
    ("W1", "W2", "W5"),
    ("W3", "W4"),
    ("members",),
    ("bounds",),
    ("cifar10",),
    ("equal-runs", "cpu", "resume", "equal-runs-by-flag"),
    ("D128",),
)
NAMES = tuple(name for group in GROUPS for name in group)
