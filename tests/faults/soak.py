"""Many iterations and saves in one process: nothing grows."""

import contextlib
import json
import os
from functools import partial
from pathlib import Path

from .processes import TINY

_EVERY = 20
_POOL = "ts_pool_worker"


def soak(start, folder, saves):
    """`saves` saves, one in 20 iterations.

    Returns the growth of memory in MB, of open files and of threads, each from its
    most in the second tenth to its most in the last; how many threads TensorStore's
    pool had at most, which grows and shrinks with the disk's delays; and how many
    programs of the train step were compiled.
    """
    record = folder / "record.jsonl"
    args = [*TINY, "--chunk", str(_EVERY), "--log-every", str(_EVERY), "--generator.features", "8"]
    args += ["--checkpoint-every", str(_EVERY), "--steps", str(_EVERY * saves)]
    process = start(args, folder / "soaked", patch=partial(_observed, record))
    assert process.wait(3600) == 0, process.said.read_text()
    seen = [json.loads(line) for line in record.read_text().splitlines()]
    assert len(seen) == saves
    tenth = max(1, saves // 10)

    def most(name, lines):
        return max(line[name] for line in lines)

    growth = {
        name: most(name, seen[-tenth:]) - most(name, seen[tenth : 2 * tenth])
        for name in ("megabytes", "files", "threads")
    }
    return growth | {"pool": most("pool", seen), "programs": seen[-1]["programs"]}


def _observed(record):
    """In the fork: write down what the process holds after each save."""
    from jax import monitoring

    from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints

    save, programs = Checkpoints.save, []

    def compiled(name, seconds, **more):
        if name == "/jax/core/compile/backend_compile_duration":
            programs.append(more.get("fun_name"))

    def saved(self, step, state):
        save(self, step, state)
        status = dict(
            line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines()
        )
        threads = _threads()
        seen = {
            "megabytes": int(status["VmRSS"].split()[0]) / 1024,
            "threads": sum(name != _POOL for name in threads),
            "pool": threads.count(_POOL),
            "files": len(os.listdir("/proc/self/fd")),
            "programs": sum("run" in str(name) for name in programs),
        }
        with record.open("a") as file:
            file.write(json.dumps(seen) + "\n")

    monitoring.register_event_duration_secs_listener(compiled)
    Checkpoints.save = saved


def _threads():
    """The names of this process's threads; one may end while they are read."""
    names = []
    for comm in Path("/proc/self/task").glob("*/comm"):
        with contextlib.suppress(OSError):
            names.append(comm.read_text().strip())
    return names
