"""Workdirs, configs, data sets and weights as somebody makes them who means harm."""

import contextlib
import io
import json
import os
import resource
import shutil
import signal
import socket
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from wgan_jax import cli, cli_evaluate
from wgan_jax.__main__ import main
from wgan_jax.experiment.seal import seal

from . import inputs
from .processes import ROOT, TINY

STEP = 10
_SECONDS, _MEGABYTES = 10, 600  # of one command; JAX itself takes another 300
_SECRET = '{"step": 10, "private": 12345}\n'
# The names that files had while they were written, when these could still be foretold.
_FORETOLD = [
    *("report.html.part", "config.json.part.json", "machine.json.part.json"),
    *("metrics.jsonl.part.jsonl", "evaluation.json.part.json", "curves.png.part.png"),
    f"samples/{STEP + 5}.png.part.png",
]


def pristine(folder):
    """A workdir of a short run, with all that one can hold."""
    former, cli_evaluate.at_the_end = cli_evaluate.at_the_end, lambda *_: None
    try:
        args = [*TINY, "--steps", str(STEP), "--workdir", str(folder)]
        assert attacked("train", args)[0] == 0
    finally:
        cli_evaluate.at_the_end = former
    (folder / "evaluation.json").write_text(json.dumps({"step": STEP, "w1/exact": 0.5}))
    (folder / "members.json").write_text(json.dumps([{"member": 0, "step": STEP}]))
    (folder / "members.jsonl").write_text("")
    (folder / "members").mkdir()
    (folder / "checkpoints" / "skipped").mkdir()
    return folder


class Outside:
    """Files that are no business of a run: a secret one, and a folder with another's checkpoints."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "checkpoints" / "3").mkdir(parents=True)
        (folder / "checkpoints" / "3" / "state").write_text("another's")
        self.secret = folder / "secret"
        self.secret.write_text(_SECRET)
        self._before = self._now()

    def _now(self):
        paths = sorted(self.folder.rglob("*"))
        return [(str(p), p.lstat().st_mtime_ns, p.is_file() and p.read_bytes()) for p in paths]

    def touched(self):
        return self._now() != self._before


def _replaced(make):
    """Something else in the place of a file or folder."""

    def replace(path, outside):
        if path.is_dir():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        make(path, outside)

    return replace


def _socket(path, outside):
    short = Path(f"/proc/self/fd/{os.open(path.parent, os.O_RDONLY)}")  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(short / path.name))
    os.close(int(short.name))


def _link(path, outside):
    is_folder = path.name in ("checkpoints", "samples", "members", "tensorboard", "skipped", "10")
    path.symlink_to(outside.folder if is_folder else outside.secret)


_REPLACED = {
    "a link": _replaced(_link),
    "a link to nowhere": _replaced(lambda path, outside: path.symlink_to(outside.folder / "new")),
    "a device": _replaced(lambda path, outside: path.symlink_to("/dev/zero")),
    "a pipe": _replaced(lambda path, outside: os.mkfifo(path)),
    "a socket": _replaced(_socket),
}
_FILES = [
    *("config.json", "metrics.jsonl", "members.jsonl", "members.json", "machine.json"),
    *("evaluation.json", "report.html", "curves.png", ".lock", "features-lenet.safetensors"),
    *(f"samples/{STEP}.png", "samples/data.png"),
]
_FOLDERS = ["checkpoints", "samples", "members", "tensorboard", "checkpoints/10"]
_FOLDERS += ["checkpoints/skipped"]

# What is refused at once by every command: name, thing in its place.
REFUSED = {f"{name} is {kind}": (name, kind) for name in _FILES for kind in _REPLACED}
REFUSED |= {f"{name} is {kind}": (name, kind) for name in _FOLDERS for kind in ("a link", "a pipe")}


def refused(name, kind, workdir, outside):
    """What each command does wrong with a workdir in which `name` is something else."""
    _REPLACED[kind](workdir / name, outside)
    wrong = []
    for command in ("report", "sample", "evaluate", "train"):
        status, said, more = attacked(command, arguments(command, workdir))
        told = status == 2 and said.count("\n") == 1 and "12345" not in said
        wrong += [] if told else [f"{command} leaves with {status}: {said}"]
        wrong += more
    return wrong + (["touched"] if outside.touched() else [])


def arguments(command, workdir):
    """Those of a command on a workdir; of training, to go on."""
    if command == "train":
        return [*TINY, "--steps", str(STEP + 5), "--workdir", str(workdir)]
    out = ["--out", str(workdir.parent / "out.npz"), "--force", "--num", "3"]
    return [str(workdir), *(out if command == "sample" else ())]


def attacked(command, args):
    """Exit status of a command, what it said on stderr, and what is wrong with how it went."""
    call = cli.train if command == "train" else lambda words: main([command, *words])
    out, err, wrong = io.StringIO(), io.StringIO(), []

    def hang(*_):
        raise AssertionError(f"{command} hangs")

    former = signal.signal(signal.SIGALRM, hang)
    before = _peak(reset=True)
    signal.alarm(_SECONDS if command != "train" else 6 * _SECONDS)
    place = os.getcwd()
    os.chdir(ROOT)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.guarded(call, args)
    except Exception as error:
        status = f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
        os.chdir(place)
    if (grown := _peak() - before) > _MEGABYTES:
        wrong.append(f"{command} takes {grown:.0f} MB")
    return status, err.getvalue(), wrong


def _peak(*, reset=False):
    """Megabytes that this process has had at most, since it was last reset."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3
