"""SIGTERM and SIGINT at random times, once or again and again: all is saved, the status says so."""

import re
import signal
import time

from .kills import uninterrupted
from .processes import metrics_of, steps_of

STATUS = {signal.SIGTERM: 143, signal.SIGINT: 130}


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
        said = " ".join(process.lines())
        saved = re.search(r"step (\d+) is saved", said)
        step = int(saved[1]) if saved else 0
        training += step > 0
        whole = steps_of(workdir)[:1] in ([step], [] if step == 0 else None)
        lines = metrics_of(workdir) if (workdir / "metrics.jsonl").exists() else []
        logged = not lines or lines[-1]["step"] == step // 10 * 10
        good += status == STATUS[kind] and whole and logged and "Traceback" not in said
    return good, training, longest
