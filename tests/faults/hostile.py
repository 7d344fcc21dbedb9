"""Malicious workdirs and configs."""

import contextlib
import io
import json
import os
import shutil
import signal
import socket
from functools import partial
from pathlib import Path

from PIL import Image

from wgan_jax import cli
from wgan_jax.__main__ import main
from wgan_jax.cli import evaluate as cli_evaluate
from wgan_jax.experiment.checkpoint.checksums import write_checksums

from . import inputs
from .processes import ROOT, TINY

STEP = 10
_SECONDS, MEGABYTES = 10, 600  # of one command; JAX itself takes another 300
_SECRET = '{"step": 10, "private": 12345}\n'
# The names that files had while they were written, when these could still be foretold.
_FORETOLD = [
    *("report.html.part", "config.json.part.json", "machine.json.part.json"),
    *("metrics.jsonl.part.jsonl", "evaluation.json.part.json", "curves.png.part.png"),
]


def pristine(folder):
    """A workdir of a short run, with all that one can hold."""
    former, cli_evaluate.summarize_run = cli_evaluate.summarize_run, lambda *_: None
    try:
        args = [*TINY, "--steps", str(STEP), "--workdir", str(folder)]
        assert attacked("train", args)[0] == 0
    finally:
        cli_evaluate.summarize_run = former
    (folder / "evaluation.json").write_text(json.dumps({"step": STEP, "w1/exact": 0.5}))
    (folder / "members.json").write_text(json.dumps([{"member": 0, "step": STEP}]))
    (folder / "members.jsonl").write_text("")
    (folder / "members").mkdir()
    (folder / "checkpoints" / "skipped").mkdir()
    return folder


class Outside:
    """Files that are no business of a run: a secret, and the checkpoints of another."""

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
    is_folder = path.name in (
        "checkpoints",
        "samples",
        "members",
        "tensorboard",
        "wandb",
        "skipped",
        "10",
    )
    path.symlink_to(outside.folder if is_folder else outside.secret)


REPLACED = {
    "a link": _replaced(_link),
    "a link to nowhere": _replaced(lambda path, outside: path.symlink_to(outside.folder / "new")),
    "a device": _replaced(lambda path, outside: path.symlink_to("/dev/zero")),
    "a pipe": _replaced(lambda path, outside: os.mkfifo(path)),
    "a socket": _replaced(_socket),
    "a folder": _replaced(lambda path, outside: path.mkdir()),
}
_FILES = [
    *(
        "config.json",
        "metrics.jsonl",
        "metrics.old.jsonl",
        "members.jsonl",
        "members.json",
        "machine.json",
        "wandb.json",
    ),
    *(
        "evaluation.json",
        "report.html",
        "curves.png",
        "nearest.png",
        ".lock",
        "features-lenet.safetensors",
    ),
    *(f"samples/{STEP}.png", "samples/data.png"),
]
_FOLDERS = ["checkpoints", "samples", "members", "tensorboard", "wandb", "checkpoints/10"]
_FOLDERS += ["checkpoints/skipped"]

# What is refused at once by every command: name, thing in its place.
REFUSED = {
    f"{name} is {kind}": (name, kind)
    for name in _FILES
    for kind in REPLACED
    if kind != "a folder" or "/" not in name
}
REFUSED |= {f"{name} is {kind}": (name, kind) for name in _FOLDERS for kind in ("a link", "a pipe")}


def refused(name, kind, workdir, outside):
    """What each command does wrong with a workdir in which `name` is something else."""
    REPLACED[kind](workdir / name, outside)
    wrong = []
    for command in ("report", "sample", "evaluate", "train"):
        status, said, more = attacked(command, arguments(command, workdir))
        told = status == 2 and said.count("\n") == 1 and "12345" not in said
        wrong += [] if told else [f"{command} leaves with {status}: {said}"]
        wrong += more
    return wrong + (["touched"] if outside.touched() else [])


def led_astray(workdir, outside):
    """What is wrong after a run has gone on among links at the names that it once wrote to."""
    for name in _FORETOLD:
        (workdir / name).symlink_to(outside.secret)
    for name in ("metrics.jsonl", "machine.json", "report.html"):  # files that others have too
        (workdir / name).unlink(missing_ok=True)
        (workdir / name).hardlink_to(outside.secret)
    former, cli_evaluate.summarize_run = cli_evaluate.summarize_run, lambda *_: None
    try:
        status, said, wrong = attacked("train", arguments("train", workdir))
    finally:
        cli_evaluate.summarize_run = former
    wrong += [] if status == 0 else [f"it leaves with {status}: {said}"]
    return wrong + (["touched"] if outside.touched() else [])


def nested(path):
    path.write_text("[" * 10**6)


def huge(path):
    with path.open("wb") as file:
        file.truncate(2**40)


def _many(path):
    path.write_text(f"[{','.join([json.dumps({'a': 0})] * 900_000)}]")


def _long(path):
    path.write_text(f'{{"step": {"9" * 4000}, "w1/exact": {"9" * 4000}}}')


def _bombs(image):
    def plant(path):
        data = image()
        for step in range(14):
            (path / f"{step}.png").write_bytes(data)

    return plant


def _white(side):
    file = io.BytesIO()
    Image.new("RGB", (side, side)).save(file, "png")
    return file.getvalue()


_JSON = ("config.json", "evaluation.json", "members.json", "machine.json", "metrics.jsonl")
# What the report is made of, and no more than a report comes of it: name, what is done to it.
CONTENTS = {
    f"{name} {how.__name__}": (name, how) for name in _JSON for how in (nested, huge, _many, _long)
}
CONTENTS["pictures that claim to be huge"] = ("samples", _bombs(partial(inputs.bomb, 40_000)))
CONTENTS["pictures that claim to be large"] = ("samples", _bombs(partial(inputs.bomb, 8_000)))
CONTENTS["pictures that are large"] = ("samples", _bombs(partial(_white, 5_700)))


def reported(name, how, workdir, outside):
    """What is wrong with a report on such contents."""
    how(workdir / name)
    status, said, wrong = attacked("report", [str(workdir)])
    if not (status == 0 or (status == 2 and said.count("\n") == 1)):
        wrong += [f"it leaves with {status}: {said}"]
    return wrong + (["touched"] if outside.touched() else [])


def _chunks(folder):
    place = next((folder / "state").rglob(".zarray"))
    claim = json.loads(place.read_text())
    claim |= {"shape": [10**12, 10**12], "chunks": [1, 1]}
    place.write_text(json.dumps(claim))
    write_checksums(folder)


def _files(folder):
    for i in range(30_000):
        (folder / f"more-{i}").touch()


def _list(folder):
    huge(folder / "checksums.json")


def _manifest(folder):
    huge(folder / "manifest" / "metadata")


CHECKPOINTS = {how.__name__.strip("_"): (how,) for how in (_chunks, _files, _list, _manifest)}


def restored(how, workdir, outside):
    """What is wrong with how samples are refused, of a checkpoint that claims too much."""
    folder = workdir / "checkpoints" / str(STEP)
    (folder / "checksums.json").unlink()
    write_checksums(folder)
    how(folder)
    status, said, wrong = attacked("sample", arguments("sample", workdir))
    lines = said.splitlines()
    if status != 2 or len(lines) != 2 or "is skipped" not in lines[0]:
        wrong += [f"it leaves with {status}: {said}"]
    return wrong + (["touched"] if outside.touched() else [])


_TFDS, _MUCH = {"type": "TFDS", "name": "mnist"}, 10**12
# What a config asks for, with a word of what is told.
CONFIGS = {
    "a name that climbs": ({"dataset": {**_TFDS, "name": "../../x"}}, "dataset.name"),
    "a name that is a path": ({"dataset": {**_TFDS, "name": "/etc"}}, "dataset.name"),
    "a name that is an address": ({"dataset": {**_TFDS, "name": "gs://b/x"}}, "dataset.name"),
    "a config that climbs": ({"dataset": {**_TFDS, "name": "a/..:1.0.0"}}, "dataset.name"),
    "a stream that climbs": ({"dataset": {"type": "TFDSStream", "name": ".."}}, "dataset.name"),
    "a bucket": ({"dataset": {**_TFDS, "data_dir": "gs://bucket/x"}}, "gs://bucket/x"),
    "this machine by address": ({"dataset": {**_TFDS, "data_dir": "local:///etc"}}, "data-dir"),
    "an address with a password": (
        {"dataset": {**_TFDS, "data_dir": "ftp://me:12345@127.0.0.1:1/x"}},
        "password",
    ),
    "an address within another": (
        {"dataset": {**_TFDS, "data_dir": "simplecache::ftp://me:12345@127.0.0.1:1/"}},
        "password",
    ),
    "an address with a token": (
        {"dataset": {**_TFDS, "data_dir": "http://127.0.0.1:1/?token=12345"}},
        "data-dir",
    ),
    "many modes": ({"dataset": {"type": "Ring", "modes": _MUCH}}, "modes"),
    "a wide grid": ({"dataset": {"type": "Grid", "side": 10**6}}, "modes"),
    "many members": ({"sweep": {"seeds": 10**9}}, "members"),
    "many combinations": (
        {"sweep": {"learning_rates": [1e-3] * 500, "clip_values": [0.1] * 500}},
        "members",
    ),
    "many layers": ({"generator": {"type": "MLP", "features": [1] * 20_000}}, "list"),
    "wide layers": (
        {"generator": {"type": "MLP", "features": [10**9] * 2, "output_shape": [2]}},
        "",
    ),
    "a large latent": ({"latent": {"type": "Normal", "dim": 10**10}}, ""),
}


def asked(changes, word, workdir, outside):
    """What is wrong with what is said of a config that asks for this."""
    path = workdir / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))
    wrong = []
    for command, args in (
        ("evaluate", [str(workdir)]),
        ("train", ["--config", str(path), "--workdir", str(workdir.parent / "new")]),
    ):
        if command == "train" and not word:
            continue  # whoever trains it has asked for it
        status, said, more = attacked(command, args)
        lines = [line for line in said.splitlines() if "is skipped" not in line]
        told = status == 2 and len(lines) == 1 and word in said and "12345" not in said
        wrong += [] if told else [f"{command} leaves with {status}: {said}"]
        wrong += more
    if (workdir / "report.html").unlink(missing_ok=True) or attacked("report", [str(workdir)])[0]:
        wrong += ["no report"]
    elif "12345" in (workdir / "report.html").read_text():
        wrong += ["the report tells the password"]
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
    before = peak(reset=True)
    signal.alarm(_SECONDS if command != "train" else 6 * _SECONDS)
    place = os.getcwd()
    os.chdir(ROOT)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = cli.run_command(call, args)
    except Exception as error:
        status = f"{type(error).__name__}: {error}"
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, former)
        os.chdir(place)
    if (grown := peak() - before) > MEGABYTES:
        wrong.append(f"{command} takes {grown:.0f} MB")
    return status, err.getvalue(), wrong


def peak(*, reset=False):
    """Megabytes that this process has had at most, since it was last reset."""
    if reset:
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 1e3
