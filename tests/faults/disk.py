"""A full or failing disk: a one-line error, a nonzero status, older checkpoints restore."""

import contextlib
import os
import subprocess

from .processes import TINY, manifest_of, steps_of

WIDE = [*TINY, "--generator.features", "96", "96", "--critic.features", "96", "96"]
FIRST, STEPS = 10, 40
# What each place needs: how often the others write, and the bytes that a file may have.
_NEVER = "1000000"
PLACES = {
    "config.json": (["--log-every", "10"], 100),
    "metrics line": (["--log-every", "1", "--checkpoint-every", _NEVER], 6_000),
    "sample picture": (["--sample-every", "5", "--checkpoint-every", _NEVER], 12_000),
    "checkpoint": (["--log-every", "10"], 24_000),
}


def refused(start, place, folder):
    """A run that the disk refuses at `place`; what is wrong with how it ends, empty if nothing.

    The kernel refuses files beyond a size, as it does where none is left, in this
    process alone.
    """
    workdir = folder / place.replace(" ", "-")
    cadence, largest = PLACES[place]
    assert start([*WIDE, "--steps", str(FIRST)], workdir).wait() == 0
    before = manifest_of(workdir, FIRST)
    args = [*WIDE, "--steps", str(STEPS), *cadence]
    process = start(args, workdir, largest=largest, pictures=place == "sample picture")
    return wrong_end(process, workdir, before, FIRST)


def wrong_end(process, workdir, before, first):
    """Empty if a process ended as it should: one line, and the older checkpoint as it was."""
    status, lines = process.wait(), process.lines()
    if status == 0 or len(lines) != 1 or not lines[0].startswith("error: "):
        return f"status {status}: {lines}"
    if first not in steps_of(workdir) or manifest_of(workdir, first) != before:
        return "the older checkpoint is gone"
    return ""


@contextlib.contextmanager
def small_disk(place, size):
    """A file system of `size` in memory; None where this user may not mount one."""
    place.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(place):
    """Leave no byte free."""
    with (
        (place / "ballast").open("wb", buffering=0) as file,
        contextlib.suppress(OSError),
    ):
        while True:
            file.write(bytes(2**16))
            os.fsync(file.fileno())


def full_disk(start, place, folder):
    """As `refused`, with a file system that fills up while the run goes on; None if it may not."""
    with small_disk(folder / f"disk-{place.replace(' ', '-')}", "64m") as disk:
        if disk is None:
            return None
        workdir = disk / "run"
        endless = [*WIDE, "--steps", "100000000"]
        if place != "config.json":
            endless += PLACES[place][0]
        assert start([*WIDE, "--steps", str(FIRST)], workdir).wait() == 0
        before = manifest_of(workdir, FIRST)
        if place == "config.json":
            fill(disk)
        process = start(endless, workdir, pictures=place == "sample picture", beside=folder)
        if place != "config.json":
            process.wait_for(lambda: "iteration" in process.said.read_text())
            fill(disk)
        return wrong_end(process, workdir, before, FIRST)


def made_read_only(start, folder):
    """A workdir that becomes read-only half way; None where this user may not do that."""
    with small_disk(folder / "read-only", "64m") as disk:
        if disk is None:
            return None
        workdir = disk / "run"
        process = start([*WIDE, "--steps", "100000000"], workdir)
        process.wait_for(lambda: len(steps_of(workdir)) > 1)
        # The log stays open for writing, so the kernel agrees only to a bind mount's refusal.
        subprocess.run(["mount", "--bind", str(disk), str(disk)], check=True)
        try:
            subprocess.run(["mount", "-o", "remount,bind,ro", str(disk)], check=True)
            kept = steps_of(workdir)[1]
            return wrong_end(process, workdir, manifest_of(workdir, kept), kept)
        finally:
            subprocess.run(["umount", "--lazy", str(disk)], check=True)
