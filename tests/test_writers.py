"""Output during a run: loggers, read back, and the terminal."""

import dataclasses
import errno
import io
import json
import logging
import os
import re
import shutil
import signal
import struct
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import wandb
from PIL import Image

from wgan_jax.__main__ import main
from wgan_jax.cli import run_command
from wgan_jax.cli.train import train as train_command
from wgan_jax.errors import UserError, install_extra
from wgan_jax.experiment.config import Config, Sweep, Warmup
from wgan_jax.experiment.config_io import from_dict, to_dict
from wgan_jax.experiment.distributed.signals import Stopped
from wgan_jax.experiment.loggers.logger import find_logger
from wgan_jax.experiment.loggers.tensorboard import TensorBoard
from wgan_jax.experiment.run import Run
from wgan_jax.experiment.train import train
from wgan_jax.experiment.writers import Console
from wgan_jax.networks import MLP

pytestmark = pytest.mark.once

SMALL = Config(
    generator=MLP(features=(4,), output_shape=(2,)),
    critic=MLP(features=(4,)),
    batch_size=8,
    steps=6,
    chunk=2,
    log_every=2,
    checkpoint_every=2,
    sample_every=100,
)
HERE = f"{Path(__file__).stem}:"


class Recorder:
    """A logger of one's own: keeps all calls, of all that were opened."""

    opened: ClassVar = []

    def __init__(self, workdir, step, name):
        self.about, self.calls = (workdir, step, name), []
        Recorder.opened.append(self)

    def __getattr__(self, name):
        if not name.startswith("write_") and name != "close":
            raise AttributeError(name)
        return lambda *args: self.calls.append((name, *args))


class Broken(Recorder):
    def write_scalars(self, step, scalars):
        raise RuntimeError("no space in the cloud")


class Quitting(Recorder):
    def write_scalars(self, step, scalars):
        sys.exit("log in first")


class Shut:
    def __init__(self, *about):
        raise RuntimeError("no account")


@pytest.fixture(autouse=True, scope="module")
def importable():
    """Loggers of this file go by its name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, Path(__file__).stem, sys.modules[__name__])
        yield


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The workdir of a run that a signal stopped and that went on, and what its loggers got."""
    folder, told = tmp_path_factory.mktemp("runs") / "run", []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())
    logging.getLogger("wgan_jax").addHandler(handler)
    log = f"{HERE}Recorder,{HERE}Broken,{HERE}Quitting,wandb"
    config = dataclasses.replace(SMALL, log=log, evaluate_every=6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "opened", [])
        patch.setenv("WANDB_MODE", "offline")
        patch.setattr(Run, "evaluate", lambda *_: {"w1/exact": 2.0, "w1/floor": float("nan")})
        patch.setattr(Run, "warnings", lambda *_: {"critic": "it is lazy"})
        with pytest.raises(Stopped):
            train(config, folder, on_save=lambda: os.kill(os.getpid(), signal.SIGTERM))
        stopped = list((folder / "wandb").glob("*/wandb/*run-*/*.wandb"))
        run_id = (folder / "wandb.json").read_text()
        train(config, folder)
        wandb.teardown()
        yield SimpleNamespace(
            folder=folder,
            config=config,
            told=told,
            logs=Recorder.opened,
            wandb=SimpleNamespace(id=run_id, stopped=stopped),
        )
    logging.getLogger("wgan_jax").removeHandler(handler)


def test_a_logger_of_ones_own_takes_all_that_a_run_tells(run):
    first, second = (log for log in run.logs if type(log) is Recorder)
    assert [log.about for log in (first, second)] == [(run.folder, k, "run") for k in (0, 4)]
    for log in (first, second):
        assert log.calls[0] == ("write_hparams", to_dict(run.config))
        assert log.calls[-1] == ("close",)  # the first by a signal
    calls = first.calls + second.calls
    scalars = {call[1]: call[2] for call in calls if call[0] == "write_scalars"}
    lines = map(json.loads, (run.folder / "metrics.jsonl").read_text().splitlines())
    lines = {line.pop("step"): line for line in lines}
    assert scalars.keys() == lines.keys() == {2, 4, 6}
    for step, numbers in scalars.items():
        assert numbers == {name: x for name, x in lines[step].items() if np.isfinite(x)}
    assert scalars[6]["w1/exact"] == 2.0
    texts = [call[1:] for call in calls if call[0] == "write_texts"]
    assert texts == [(6, {"warnings/critic": "it is lazy"})]
    ((_, step, images),) = (call for call in calls if call[0] == "write_images")
    drawn = np.asarray(Image.open(run.folder / "samples/6.png").convert("RGB"))
    assert step == 6
    np.testing.assert_array_equal(images["samples"], drawn[None])


def test_a_logger_that_fails_is_told_of_once_and_the_run_goes_on(run):
    broken = [log for log in run.logs if type(log) in (Broken, Quitting)]
    assert len(broken) == 4
    after = {call[0] for log in broken for call in log.calls} - {"write_hparams", "write_texts"}
    assert not after
    for told in (
        "Broken failed and is disabled: no space in the cloud",
        "Quitting failed and is disabled: log in first",
    ):
        assert run.told.count(told) == 2  # once in each process


def test_weights_and_biases_goes_on_with_its_run_and_needs_no_network(run):
    assert (run.folder / "wandb.json").read_text() == run.wandb.id
    run_id = json.loads(run.wandb.id)["id"]
    files = sorted((run.folder / "wandb").glob("*/wandb/*run-*/*.wandb"))
    assert len(run.wandb.stopped) == 1
    assert len(files) == 2
    assert {path.name for path in files} == {f"run-{run_id}.wandb"}
    assert all(b"critic/estimate" in path.read_bytes() for path in files)
    assert len(list((run.folder / "wandb").glob("*/wandb/*/files/media/images/samples*.png"))) == 1


def test_members_of_a_sweep_are_logged_as_the_runs_that_they_are(tmp_path, monkeypatch):
    monkeypatch.setattr(Recorder, "opened", [])
    config = dataclasses.replace(SMALL, log=HERE + "Recorder", sweep=Sweep(seeds=2))
    train(config, tmp_path / "many")
    _, *members = Recorder.opened
    assert [log.about[2] for log in Recorder.opened] == ["many", "many/0", "many/1"]
    assert [log.about[0] for log in members] == [tmp_path / f"many/members/{k}" for k in (0, 1)]
    assert [log.calls[0][1]["seed"] for log in members] == [0, 1]
    values = [
        [call[2]["critic/estimate"] for call in log.calls if call[0] == "write_scalars"]
        for log in Recorder.opened
    ]
    np.testing.assert_allclose(values[0], np.mean(values[1:], 0), rtol=1e-6)
    assert values[1] != values[2]
    assert all(log.calls[-1] == ("close",) for log in Recorder.opened)


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("tensorbord", "did you mean tensorboard?"),
        ("mlflow", "known: tensorboard, wandb"),
        (HERE + "Recorde", "did you mean Recorder?"),
        (HERE + "SMALL", "is not a class, but Config"),
        (HERE + "Shut", "cannot be opened: no account"),
        ("no_such_module:Writer", "No module named 'no_such_module'"),
        ("a b:c", "import path"),
    ],
)
def test_loggers_that_are_none_are_told_in_one_line(log, told, tmp_path, capsys):
    assert run_command(train_command, ["--log", log, "--workdir", str(tmp_path / "w")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert told in said
    assert not (tmp_path / "w/metrics.jsonl").exists()


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_extra_is_named(name, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda *_: None)
    with pytest.raises(UserError, match=re.escape(f"{install_extra(name)}")):
        find_logger(name)


def test_a_saved_config_imports_no_module_and_tells_no_server(run, tmp_path, capsys, monkeypatch):
    """Only loggers that the user names are opened, by any command."""
    folder, out = tmp_path / "theirs", str(tmp_path / "x.npz")
    shutil.copytree(run.folder, folder)
    data = json.loads((folder / "config.json").read_text())
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "evil.py").write_text("raise SystemExit('imported')\n")
    (folder / "config.json").write_text(json.dumps(data | {"log": "evil:Logger,wandb"}))
    for command, *more in (
        ("report",),
        ("evaluate", "--metrics", "critic"),
        ("sample", "--num", "2", "--out", out),
    ):
        assert run_command(main, [command, str(folder), *more]) == 0
    again = ["train", "--config", str(folder / "config.json"), "--workdir", str(folder)]
    capsys.readouterr()
    assert run_command(main, again) == 2
    assert "add --log evil:Logger,wandb (or --log none)" in capsys.readouterr().err
    assert len(list((folder / "wandb").iterdir())) == 2
    assert run_command(main, [*again, "--log", "evil:Logger"]) == 2
    assert "cannot be imported: imported" in capsys.readouterr().err


def test_the_former_flag_of_tensorboard_still_logs_and_its_runs_go_on():
    assert dataclasses.replace(SMALL, tensorboard=True).loggers == ("tensorboard",)
    former = {k: v for k, v in to_dict(SMALL).items() if k != "log"} | {"tensorboard": True}
    assert from_dict(former).loggers == ("tensorboard",)
    assert Config(log="wandb, tensorboard,wandb").loggers == ("wandb", "tensorboard")
    assert Config(log="none").loggers == ()


def events(folder):
    """The records of all event files: length, checksum, event, checksum."""
    from tensorboardX.proto.event_pb2 import Event

    for path in sorted(folder.glob("events.out.tfevents.*")):
        data, at = path.read_bytes(), 0
        while at < len(data):
            (length,) = struct.unpack("<Q", data[at : at + 8])
            yield Event.FromString(data[at + 12 : at + 12 + length])
            at += length + 16


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf, in tensorboardX
def test_tensorboard_holds_scalars_pictures_texts_and_the_config(tmp_path):
    pixels = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
    board = TensorBoard(tmp_path, 10, "run")
    board.write_hparams({"seed": 3})
    board.write_scalars(20, {"critic/loss": -0.5, "w1/minibatch": 2.0})
    board.write_images(20, {"samples": pixels})
    board.write_texts(20, {"warnings/critic": "it is lazy"})
    board.close()
    found = list(events(tmp_path / "tensorboard"))
    assert [e.step for e in found if e.HasField("session_log")] == [11]
    values = {v.tag: (e.step, v) for e in found for v in e.summary.value}
    numbers = {"critic/loss", "w1/minibatch", "samples", "warnings/critic/text_summary"}
    assert {step for name, (step, _) in values.items() if name in numbers} == {20}
    assert values.keys() == numbers | {"config/text_summary"}
    assert values["critic/loss"][1].simple_value == -0.5
    texts = [values[name][1].tensor.string_val[0].decode() for name in sorted(values)[:1]]
    assert '"seed": 3' in texts[0]
    drawn = Image.open(io.BytesIO(values["samples"][1].image.encoded_image_string))
    np.testing.assert_array_equal(np.asarray(drawn), pixels[0])


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of protobuf, in tensorboardX
def test_tensorboard_raises_where_the_disk_is_full_and_does_not_wait(tmp_path, monkeypatch):
    board = TensorBoard(tmp_path, 0, "run")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        for step in range(10, 40):
            with pytest.raises(OSError, match="No space left"):
                board.write_scalars(step, {"critic/loss": -0.5})
    board.close()


def test_lines_come_now_and_then_where_there_is_no_terminal(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr("wgan_jax.experiment.writers.time.monotonic", lambda: now[0])
    console = Console(0, 1_000)
    for second in range(1, 26):
        now[0] = float(second)
        console.update(10, 1 / 3)
    console.close()
    said = capsys.readouterr()
    lines = said.out.splitlines()
    assert len(lines) == 2
    assert all("of 1,000" in line and "0.3333" in line for line in lines)
    assert said.err == ""


def test_the_time_to_the_end_is_told_once_as_soon_as_it_is_measured(tmp_path, caplog, monkeypatch):
    """By the second chunk: the first one is compiled, and what a warm-up takes tells nothing."""
    monkeypatch.setattr("wgan_jax.experiment.writers._SECONDS_BETWEEN_LINES", 0.0)
    lines = []
    monkeypatch.setattr(Console, "update", lambda self, *_: lines.append(len(caplog.messages)))
    config = dataclasses.replace(SMALL, steps=12, warmup=Warmup(n_critic=2, first=2, every=0))
    with caplog.at_level("INFO", "wgan_jax"):
        train(config, tmp_path / "run")
    assert len(lines) == 7
    (told,) = [i for i, message in enumerate(caplog.messages) if "training left" in message]
    assert caplog.messages[told].startswith("about ")
    assert [count > told for count in lines] == [False] * 4 + [True] * 3


def test_the_logger_of_the_docs_keeps_what_it_is_told(tmp_path):
    page = (Path(__file__).parents[1] / "docs/logging.md").read_text()
    names: dict = {}
    exec(page.split("```python\n")[1].split("```")[0], names)
    for step in (0, 4):
        log = names["Lines"](tmp_path, step, "run")
        log.write_hparams({"seed": 1})
        log.write_scalars(step + 2, {"critic/loss": 0.5})
        log.write_images(step + 2, {"samples": np.zeros((1, 2, 2, 3), np.uint8)})
        log.write_texts(step + 2, {"warnings/critic": "lazy"})
        log.close()
    lines = (tmp_path / "lines.txt").read_text().splitlines()
    assert [line.split()[0] for line in lines] == ["config", *"222", "config", *"666"]
