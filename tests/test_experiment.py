"""Runs as users start them: real processes that are killed, and bad input."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from archives import arrays_of

from wgan_jax import cli
from wgan_jax.__main__ import _COMMANDS, main
from wgan_jax.cli.flags import load
from wgan_jax.errors import UserError
from wgan_jax.experiment import train as loop
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.chunks import next_chunk
from wgan_jax.experiment.config import Clip, Config, Sweep, Warmup
from wgan_jax.experiment.config_io import from_dict, to_dict
from wgan_jax.experiment.distributed.signals import catch_signals
from wgan_jax.experiment.run import open_run
from wgan_jax.networks import MLP

pytestmark = pytest.mark.usefixtures("few_points")
ROOT = Path(__file__).parents[1]
CADENCE = [
    *("--batch-size", "32", "--chunk", "7", "--log-every", "10"),
    *("--checkpoint-every", "20", "--sample-every", "1000"),
]
TINY = ["--generator.features", "16", "--critic.features", "16", *CADENCE]
DIGITS = [
    *("--config", "configs/digits.py", "--critic.norm", "batch"),
    *("--generator.filters", "8", "--critic.filters", "8", *CADENCE),
]


def start(args, workdir):
    command = [sys.executable, "train.py", *args, "--workdir", str(workdir)]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(process):
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def wait_for_checkpoint(process, workdir):
    until = time.monotonic() + 200
    while not Checkpoints(workdir / "checkpoints").steps():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)


def as_data(leaf):
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def result(workdir):
    run = open_run(load(workdir / "config.json"), workdir)
    lines = [json.loads(t) for t in (workdir / "metrics.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in line.items() if "time/" not in k} for line in lines]
    return [as_data(leaf) for leaf in jax.tree.leaves(run.state)], kept


@pytest.mark.process
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("args", [TINY, DIGITS], ids=["toy", "dcgan with batch norm"])
def test_a_killed_run_goes_on_bitwise(args, tmp_path):
    args = [*args, "--steps", "150"]
    assert finish(start(args, tmp_path / "whole"))[0] == 0
    process = start(args, tmp_path / "killed")
    wait_for_checkpoint(process, tmp_path / "killed")
    process.kill()
    finish(process)
    assert finish(start(args, tmp_path / "killed"))[0] == 0
    whole, killed = result(tmp_path / "whole"), result(tmp_path / "killed")
    assert whole[1] == killed[1]
    for a, b in zip(whole[0], killed[0], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("sweep", [None, Sweep(seeds=2)], ids=["run", "sweep"])
def test_a_run_that_ends_right_after_saving_draws_its_pictures_later(sweep, tmp_path):
    config = Config(
        **{"generator": MLP(features=(8,), output_shape=(2,)), "critic": MLP(features=(8,))},
        **{"batch_size": 8, "steps": 30, "chunk": 5, "log_every": 5, "checkpoint_every": 10},
        **{"sample_every": 20, "evaluate_every": 0, "sweep": sweep},
    )
    loop.train(config, tmp_path / "whole")
    for step in (20, 30):

        def end(step=step):
            if Checkpoints(tmp_path / str(step) / "checkpoints").steps()[0] == step:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            loop.train(config, tmp_path / str(step), on_save=end)
        loop.train(config, tmp_path / str(step))
        for name in ("samples/20.png", "samples/30.png"):
            drawn = (tmp_path / str(step) / name).read_bytes()
            assert drawn == (tmp_path / "whole" / name).read_bytes()
        assert len(list((tmp_path / str(step) / "samples").glob("[0-9]*"))) == 2
        assert (tmp_path / str(step) / "curves.png").exists()


@pytest.mark.filterwarnings("ignore")
def test_sigterm_saves_and_a_second_trainer_is_turned_away(tmp_path):
    process = start([*TINY, "--steps", "10000000"], tmp_path)
    wait_for_checkpoint(process, tmp_path)
    status, _, err = finish(start([*TINY, "--steps", "10000000"], tmp_path))
    assert status == 2
    assert str(process.pid) in err
    assert err.count("\n") == 1
    process.send_signal(signal.SIGTERM)
    status, _, err = finish(process)
    assert status == 143
    assert str(Checkpoints(tmp_path / "checkpoints").steps()[0]) in err


def test_signals_are_collected_until_the_outermost_collector_is_done():
    former = signal.getsignal(signal.SIGINT)
    with catch_signals() as outer:
        with catch_signals() as inner:
            os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)  # between a run's end and its last word
        assert inner is outer
        assert outer == [signal.SIGTERM, signal.SIGINT]
    assert signal.getsignal(signal.SIGINT) is former


def test_a_signal_that_is_ignored_or_somebody_elses_is_left_alone():
    def theirs(*_):
        pass

    former = {number: signal.getsignal(number) for number in (signal.SIGHUP, signal.SIGUSR1)}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as under nohup
    signal.signal(signal.SIGUSR1, theirs)
    try:
        with catch_signals() as received:
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGUSR1) is theirs
            os.kill(os.getpid(), signal.SIGUSR2)
            assert received == [signal.SIGUSR2]
        assert signal.getsignal(signal.SIGUSR2) is signal.SIG_DFL
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


def train(capsys, *args):
    status = cli.run_command(cli.train, [*args])
    return status, capsys.readouterr()


@pytest.mark.filterwarnings("ignore")
def test_a_run_leaves_what_it_promises_and_repeats_from_its_config(tmp_path, capsys):
    first, again = tmp_path / "first", tmp_path / "again"
    args = [*TINY, "--steps", "40", "--ema-decay", "0.9"]
    status, said = train(capsys, *args, "--workdir", str(first))
    assert status == 0
    assert "data against data" in said.out
    files = ["config.json", "metrics.jsonl", "curves.png", "samples/40.png", "evaluation.json"]
    for name in [*files, "machine.json", "report.html"]:
        assert (first / name).stat().st_size > 0
    line = json.loads((first / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"step", "critic/loss", "generator/loss", "critic/estimate"} <= line.keys()
    assert "time/steps_per_second" in line
    assert train(capsys, "--config", str(first / "config.json"), "--workdir", str(again))[0] == 0
    a, b = result(first), result(again)
    assert a[1] == b[1]
    for x, y in zip(a[0], b[0], strict=True):
        np.testing.assert_array_equal(x, y)
    out = tmp_path / "samples.npz"
    assert main(["sample", str(first), "--num", "7", "--out", str(out)]) == 0
    assert arrays_of(out)["samples"].shape == (7, 2)
    assert train(capsys, *args, "--seed", "5", "--workdir", str(first))[0] == 2


LABELLED = [
    *("--config", "configs/digits_conditional.py", *CADENCE),
    *("--generator-optimizer", "rms-prop", "--critic-optimizer", "rms-prop"),
    *("--generator.filters", "2", "--critic.filters", "2", "--critic.extra-layers", "0"),
]
VAE = [
    *("--objective", "evidence-bound", "--clip", "none", "--n-critic", "1"),
    *(*TINY, "--critic.output-shape", "4"),
]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("args", "arrays"),
    [(LABELLED, {"samples": (7, 8, 8, 1), "labels": (7,)}), (VAE, {"samples": (7, 2)})],
    ids=["conditional", "vae"],
)
def test_other_methods_run_from_the_command_line(args, arrays, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    assert train(capsys, *args, "--steps", "8", "--workdir", str(tmp_path / "run"))[0] == 0
    out = tmp_path / "samples.npz"
    assert main(["sample", str(tmp_path / "run"), "--num", "7", "--out", str(out)]) == 0
    assert {name: array.shape for name, array in arrays_of(out).items()} == arrays
    assert (tmp_path / "run/curves.png").stat().st_size > 0
    assert (tmp_path / "run/samples/data.png").exists() == (len(arrays["samples"]) == 4)


@pytest.mark.filterwarnings("ignore")
def test_one_compile_per_shape(tmp_path, capsys, caplog):
    args = "--steps 45 --warmup warmup --warmup.first 3 --warmup.every 20 --warmup.n-critic 9"
    with jax.log_compiles(), caplog.at_level(logging.WARNING):
        assert train(capsys, *TINY, *args.split(), "--workdir", str(tmp_path))[0] == 0
    compiled = "Finished XLA compilation of jit(run)"
    programs = [record for record in caplog.records if compiled in record.getMessage()]
    assert len(programs) == 3  # chunks, single iterations, warm-up


@pytest.mark.filterwarnings("ignore")
def test_values_that_are_not_finite_stop_the_run_and_are_not_saved(tmp_path, capsys):
    args = ["--steps", "100", "--clip", "none", "--critic-optimizer.learning-rate", "1e30"]
    status, said = train(capsys, *TINY, *args, "--workdir", str(tmp_path))
    assert status == 2
    assert "step" in said.err
    assert Checkpoints(tmp_path / "checkpoints").steps() == []


def test_a_run_past_the_steps_of_a_command_is_refused_and_unchanged(tmp_path, capsys):
    (tmp_path / "checkpoints" / "30").mkdir(parents=True)
    assert train(capsys, *TINY, "--steps", "40", "--workdir", str(tmp_path))[0] == 2  # damaged
    before = (tmp_path / "config.json").read_bytes()
    status, said = train(capsys, *TINY, "--steps", "20", "--workdir", str(tmp_path))
    assert status == 2
    assert "is at step 30, past --steps 20; set --steps to 30 or more" in said.err
    assert (tmp_path / "config.json").read_bytes() == before


def test_a_workdir_whose_name_is_not_utf8_is_refused_before_training(tmp_path, capsys):
    status, said = train(capsys, *TINY, "--workdir", str(tmp_path / "\udcfc"))
    assert status == 2
    assert "whose name is not UTF-8: choose another --workdir" in said.err


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--n-critik", "3"], "--n-critic"),
        (["--n-critic", "many"], "many"),
        (["--n-critic", "0"], "n_critic must be at least 1"),
        (["--clip.c", "0"], "positive"),
        (["--clip.c", "-1"], "positive"),
        (["--critic", "mpl"], "mlp"),
        (["--penalty", "quadratic"], "gradient-penalty"),
        (["--config", "configs/nonesuch.py"], "there is no config file"),
        (["--config", "configs/digit.py"], "configs/digits.py"),
        (["--config", "configs/ring.py:wgan"], "known: wgan_gp, wgan_lp"),
        (["--config", "configs/digits.py:wgan_gp"], "positional argument"),
        (["--config", "train.py"], "get_config"),
        (["--config", "configs/digits.py", "--batch-size", "1501"], "1500"),
        (["--config", "configs/fashion_mnist.py", "--dataset.data-dir", "/nonesuch"], "prepare"),
        (["--generator.output-shape", "3"], "(3,)"),
        (["--critic.features", "0"], "positive"),
        (["--generator.num-classes", "8"], "generator.num_classes is 8"),
        (["--objective", "evidence-bound"], "--clip none"),
        (["--objective", "evidence-bound", "--clip", "none"], "mean and log-variance"),
        (["--config", "configs/digits_conditional.py", "--critic.norm", "batch"], "layer norm"),
        (["--config", "configs/digits_conditional.py", "--dataset", "digits"], "labels is False"),
        (["--config", "configs/digits_resnet.py", "--critic.image-size", "12"], "12"),
        (["--sweep.seeds", "2", "--seed", "4294967295"], "seeds of a sweep"),
        (["--config", "digits.py"], "did you mean digits?"),
        (["--workdir"], "needs a value"),
        (["surplus"], "surplus"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_bad_input_is_told_in_one_line(args, told, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    workdir = [] if "--workdir" in args else ["--workdir", str(tmp_path)]
    status, said = train(capsys, *args, *workdir)
    assert status == 2
    assert said.err.count("\n") == 1
    assert told in said.err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "cannot be read"),
        ("", "with the run's own flags"),
        ('{"format": 7, "wgan_jax": "9.8.7"}', "9.8.7"),
        ('{"format": true}', "format True"),
        ('{"format": 1, "wgan_jax": "9.8.7", "news": 1}', "9.8.7"),
        ('{"n_critc": 3}', "n_critic"),
        ('{"n_critic": "3"}', "int"),
        ('{"dataset": {"type": "Rink"}}', "Ring"),
        ('{"generator": {"type": "MLP", "features": [1, "2"]}}', "list of int"),
        ('{"clip": {"c": -1}}', "positive"),
    ],
)
def test_a_bad_config_json_is_told(text, told, tmp_path):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=told):
        load(tmp_path / "config.json")


def test_configs_survive_json():
    config = Config(critic=MLP(features=(3,)), clip=None, warmup=Warmup(every=0), seed=7)
    assert from_dict(json.loads(json.dumps(to_dict(config)))) == config
    for path in (ROOT / "configs").glob("*.py"):
        config = load(path)
        assert from_dict(json.loads(json.dumps(to_dict(config)))) == config


def test_a_run_is_cut_alike_from_every_boundary():
    config = Config(steps=1_050, chunk=30, log_every=100, warmup=Warmup(), clip=Clip())
    step, warm = 0, 0
    while step < config.steps:
        piece = next_chunk(config, step)
        covered = [config.warmup.covers(i) for i in range(step, step + piece.length)]
        assert all(covered) or not any(covered)
        assert piece.n_critic == (100 if covered[0] else 5)
        warm += sum(covered)
        step += piece.length
    assert step == config.steps
    assert warm == 25 + 2


def damage(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


@pytest.mark.filterwarnings("ignore")
def test_a_damaged_checkpoint_is_never_restored(tmp_path):
    state = {"w": np.arange(4096.0), "n": np.int32(3)}
    like = jax.eval_shape(lambda: jax.tree.map(jax.numpy.asarray, jax.tree.map(np.float32, state)))
    state = jax.tree.map(lambda s: jax.numpy.ones(s.shape, s.dtype), like)
    checkpoints = Checkpoints(tmp_path / "c", keep=3)
    checkpoints.save(1, state)
    checkpoints.save(2, jax.tree.map(lambda x: 2 * x, state))
    biggest = max((tmp_path / "c/2/state").rglob("*"), key=lambda p: p.stat().st_size * p.is_file())
    damage(biggest)
    said = []
    step, restored = checkpoints.restore(like, said.append)
    assert step == 1
    assert (restored["w"] == 1).all()
    assert "checkpoint 2 is skipped" in said[0]
    for path in [p for p in (tmp_path / "c/1").rglob("*") if p.is_file()]:
        path.unlink()
    with pytest.raises(UserError, match="none of the checkpoints"):
        checkpoints.restore(like, said.append)


def test_every_command_tells_of_itself(capsys):
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for name in _COMMANDS:
        assert main([name, "--help"]) == 0
        told = capsys.readouterr().out
        assert f"usage: python -m wgan_jax {name} " in told
        assert f"{name:<10}{told.splitlines()[0]}" in overview
