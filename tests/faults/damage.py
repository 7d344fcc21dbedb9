"""Damaged checkpoints: the newest good one is restored, or there is a one-line error."""

import contextlib
import os
import shutil
import signal
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.checkpoint.checksums import NAME, write_checksums

from .processes import as_data

OLD, NEW = 10, 20
_SECONDS = 30


class State(NamedTuple):
    """A small state with what real ones have: keys, scalars, halves, empty and nested parts."""

    step: object
    key: object
    weights: object
    memory: object


def state(scale):
    weights = {
        "Dense_0": {"kernel": jnp.full((2, 16), scale), "bias": jnp.arange(16.0) * scale},
        "norm": {"scale": jnp.full((3,), scale, jnp.bfloat16)},
    }
    memory = (jnp.int32(7 * scale), {}, jax.tree.map(lambda w: w * 3, weights))
    return State(jnp.int32(scale), jax.random.key(int(scale)), weights, memory)


LIKE = jax.eval_shape(lambda: state(1.0))


def pristine(folder):
    """A folder with two checkpoints, the newer of which is to be damaged."""
    checkpoints = Checkpoints(folder)
    checkpoints.save(OLD, state(1.0))
    checkpoints.save(NEW, state(2.0))
    return folder


def files(folder):
    return sorted(p for p in (folder / str(NEW)).rglob("*") if p.is_file())


def _zeroed(path):
    path.write_bytes(bytes(path.stat().st_size))


def _halved(path):
    os.truncate(path, path.stat().st_size // 2)


def _appended(path):
    with path.open("ab") as file:
        file.write(b"\0surplus")


def _replaced_by(make):
    def replace(path):
        path.unlink()
        make(path)

    return replace


VARIANTS = {
    "deleted": lambda path: path.unlink(),
    "truncated": _halved,
    "emptied": lambda path: os.truncate(path, 0),
    "zeroed": _zeroed,
    "appended to": _appended,
    "made random": lambda path: path.write_bytes(np.random.default_rng(0).bytes(200)),
    "made a link": _replaced_by(lambda path: path.symlink_to("/etc/hostname")),
    "made a pipe": _replaced_by(os.mkfifo),
    "made a folder": _replaced_by(lambda path: path.mkdir()),
    "made huge": lambda path: os.truncate(path, 2**40),
}


def flip(path, bit):
    """Flip one bit of a file."""
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(data))


def outcome(folder):
    """`older`, `newer` or `error`; an AssertionError where numbers are wrong or it hangs."""

    def hang(*_):
        raise AssertionError("it hangs")

    said = []
    signal.signal(signal.SIGALRM, hang)
    signal.alarm(_SECONDS)
    try:
        step, found = Checkpoints(folder).restore(LIKE, said.append)
    except UserError as error:
        said.append(str(error))
        step, found = None, None
    finally:
        signal.alarm(0)
    assert all("\n" not in line for line in said)
    if step is None:
        return "error"
    for a, b in zip(*map(jax.tree.leaves, (found, state({OLD: 1.0, NEW: 2.0}[step]))), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(as_data(a), as_data(b))
    return {OLD: "older", NEW: "newer"}[step]


@contextlib.contextmanager
def copy_of(folder, place):
    """A copy to be damaged, gone afterwards."""
    copy = place / "damaged"
    shutil.copytree(folder, copy)
    try:
        yield copy
    finally:
        shutil.rmtree(copy)


def variants(folder, place, names, forge=False, every=1):
    """Files of the newer checkpoint in each way; what comes of it, counted.

    forge: make the checksums fit the damage, as somebody would who means harm.
    every: this many files apart; 1 for all of them.
    """
    counts = {"older": 0, "newer": 0, "error": 0}
    count = len(files(folder))
    for name in names:
        for i in range(0, count, every):
            with copy_of(folder, place) as copy:
                path = files(copy)[i]
                VARIANTS[name](path)
                if forge and name not in ("made a link", "made a pipe", "made huge"):
                    with contextlib.suppress(OSError, ValueError):
                        (copy / str(NEW) / NAME).unlink(missing_ok=True)
                        write_checksums(copy / str(NEW))
                counts[outcome(copy)] += 1
    return counts


def flips(folder, place, number, random):
    """Single bits, the files drawn by their size."""
    counts = {"older": 0, "newer": 0, "error": 0}
    for _ in range(number):
        with copy_of(folder, place) as copy:
            sizes = [path.stat().st_size for path in files(copy)]
            path = random.choices(files(copy), sizes)[0]
            flip(path, random.randrange(8 * path.stat().st_size))
            counts[outcome(copy)] += 1
    return counts
