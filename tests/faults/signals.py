"""Signals at random times or aimed at one kind of work: what is reported saved is saved."""

import os
import re
import signal
import time
from functools import partial

from .kills import uninterrupted
from .processes import TINY, metrics_of, steps_of

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}
WARNINGS = {signal.SIGHUP: 129, signal.SIGUSR1: 138, signal.SIGUSR2: 140}

# Each kind of work begins in a function of another package, where the signal is sent. But for
# saving itself, nothing would be saved soon if it were not for the signal.
_NEVER = ["--checkpoint-every", "1000000"]
WORK = {
    "drawing": ("matplotlib.figure", "Figure.savefig", [*_NEVER, "--sample-every", "10"]),
    "saving": ("orbax.checkpoint", "Checkpointer.save", []),
    "evaluating": (
        *("scipy.optimize", "linear_sum_assignment"),
        [*_NEVER, "--evaluate-every", "10"],
    ),
    "reporting": ("string", "Template.substitute", _NEVER),
}
# How often each is sure to happen in 60 steps; a report that took long puts the next one off.
CALLS = {"drawing": 5, "saving": 5, "evaluating": 5, "reporting": 2}
LAST = 60
KINDS = {"run": TINY, "sweep": [*TINY, "--sweep.seeds", "2"]}


def stopped(start, args, folder, number, random, repeat=False):
    """Stop `number` runs of their own; returns how many were saved, and the longest wait in s.

    A run that a signal finds in training says which step it saved; one that has
    not begun, or has finished, has nothing to save. `repeat` sends the signal
    every few milliseconds until the run is gone.
    """
    seconds = 0.9 * uninterrupted(start, args, folder)[2]
    good, longest, training = 0, 0.0, 0
    for i in range(number):
        workdir, kind = folder / f"stopped-{i}", random.choice(list(STATUS))
        process = start([*args, "--steps", "1000000"], workdir)
        time.sleep(random.uniform(0.3, 1.0) * seconds)
        began = time.monotonic()
        process.signal(kind)
        while repeat and process.running():
            time.sleep(0.003)
            process.signal(kind)
        status = process.wait()
        longest = max(longest, time.monotonic() - began)
        step, right = _told(process, workdir)
        training += step > 0
        good += status == STATUS[kind] and right
    return good, training, longest


def aimed(start, work, args, workdir, call, after=False, kind=signal.SIGTERM):
    """Send a signal as the `call`-th piece of a kind of work begins, or `after` it.

    Returns what is wrong with how the run ends; empty if it saved what it says, or had
    saved its last step before.
    """
    how = {"pictures": True, "patch": partial(_aim, work, call, after, kind)}
    process = start([*args, *WORK[work][2], "--steps", str(LAST)], workdir, **how)
    status = process.wait()
    step, right = _told(process, workdir)
    wanted = (STATUS | WARNINGS)[kind]
    finished = steps_of(workdir)[:1] == [LAST]
    if status == wanted and (finished or (right and step > 0)):
        return ""
    return f"{work} {call}: status {status}, {process.lines()}, on disk {steps_of(workdir)}"


def _told(process, workdir):
    """The step that is told to be saved, 0 if none, and whether that and its metrics are there."""
    said = " ".join(process.lines())
    saved = re.search(r"step (\d+) is saved", said)
    step = int(saved[1]) if saved else 0
    whole = steps_of(workdir)[:1] in ([step], [] if step == 0 else None)
    lines = metrics_of(workdir) if (workdir / "metrics.jsonl").exists() else []
    logged = not lines or step // 10 * 10 <= lines[-1]["step"] <= step
    return step, whole and logged and "Traceback" not in said


def _aim(work, call, after, kind):
    """In the fork: the signal comes from within the work. Time flies, so that reports are due."""
    import importlib

    module, path, _ = WORK[work]
    owner, calls = importlib.import_module(module), []
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    original = getattr(owner, name)

    def signalled(*args, **kwargs):
        calls.append(name)
        if len(calls) == call and not after:
            os.kill(os.getpid(), kind)
        result = original(*args, **kwargs)
        if len(calls) == call and after:
            os.kill(os.getpid(), kind)
        return result

    setattr(owner, name, signalled)
    clock = time.monotonic
    time.monotonic = lambda: 1_000 * clock()
