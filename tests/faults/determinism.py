"""A run is independent of the number of cores and of a cold or warm cache."""

import os
from functools import partial

from .processes import manifest_of, metrics_of

STEPS = 30


def different(start, args, folder):
    """The ways in which checkpoints or metrics differ from those of the run on all cores."""
    ways = {
        "all cores": None,
        "one core": _one_core,
        "a warm cache": None,
        "a cold cache": partial(_own_cache, folder / "cold"),
    }
    ends = {}
    for way, patch in ways.items():
        workdir = folder / way.replace(" ", "-")
        run = start([*args, "--steps", str(STEPS)], workdir, patch=patch)
        assert run.wait() == 0, run.said.read_text()
        ends[way] = manifest_of(workdir, STEPS), metrics_of(workdir)
    return [way for way in ways if ends[way] != ends["all cores"]]


def _one_core():
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])


def _own_cache(folder):
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
