"""SIGKILL at random times: a run resumes as if nothing had happened."""

import time

from .processes import manifest_of, metrics_of, steps_of

STEPS = 120


def uninterrupted(start, args, folder):
    """A run to compare with: manifests by step, metrics, and the seconds that it took."""
    began = time.monotonic()
    workdir = folder / "whole"
    process = start([*args, "--steps", str(STEPS), "--keep-checkpoints", "1000"], workdir)
    assert process.wait() == 0, process.said.read_text()
    seconds = time.monotonic() - began
    return {s: manifest_of(workdir, s) for s in steps_of(workdir)}, metrics_of(workdir), seconds


def killed(start, args, folder, kills, random):
    """Kill runs again and again, each going on where the last was killed.

    Returns how many kills there were, how many runs they were spread over, and in how
    many of either something differed from the uninterrupted run.
    """
    manifests, metrics, seconds = uninterrupted(start, args, folder)
    command = [*args, "--steps", str(STEPS)]
    done, runs, wrong = 0, 0, 0
    while done < kills:
        workdir = folder / f"killed-{runs}"
        runs += 1
        while done < kills:
            process, began = start(command, workdir), time.monotonic()
            ended = process.ends_within(random.uniform(0, seconds))
            process.kill()
            if ended or process.wait() == 0:  # it came to its end before
                seconds = min(seconds, time.monotonic() - began)  # the first had to compile
                break
            done += 1
            newest = steps_of(workdir)[:1]
            wrong += any(manifest_of(workdir, s) != manifests[s] for s in newest)
        finished = start(command, workdir).wait() == 0 and steps_of(workdir)[0] == STEPS
        same = finished and manifest_of(workdir, STEPS) == manifests[STEPS]
        wrong += not (same and metrics_of(workdir) == metrics)
    return done, runs, wrong
