"""Two trainers in one workdir: the second exits at once and names the first."""

import subprocess
import sys
import time

from .processes import ROOT, TINY

_ENDLESS = [*TINY, "--steps", "100000000"]


def turned_away(start, folder, number):
    """Real second trainers beside one that trains; how many were right, and the longest in s."""
    workdir = folder / "held"
    first = start(_ENDLESS, workdir)
    first.wait_for(lambda: "iteration" in first.said.read_text())
    good, longest = 0, 0.0
    for _ in range(number):
        began = time.monotonic()
        command = [sys.executable, "train.py", *_ENDLESS, "--workdir", str(workdir)]
        second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        longest = max(longest, time.monotonic() - began)
        named = f"process {first.pid};" in second.stderr and second.stderr.count("\n") == 1
        good += second.returncode == 2 and named
    first.kill()
    return good, longest


def at_once(start, folder, number):
    """Pairs that start together: one trains, the other names it; how many were so."""
    good = 0
    for i in range(number):
        workdir = folder / f"pair-{i}"
        pair = [start(_ENDLESS, workdir), start(_ENDLESS, workdir)]
        until = time.monotonic() + 120
        while all(one.running() for one in pair) and time.monotonic() < until:
            time.sleep(0.01)
        winner, loser = sorted(pair, key=lambda one: not one.running())
        lines = loser.lines()
        good += (
            winner.running()
            and loser.wait() == 2
            and len(lines) == 1
            and f"process {winner.pid};" in lines[0]
        )
        winner.kill()
    return good
