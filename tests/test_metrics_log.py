"""metrics.jsonl across restarts: damage, length, and what is on the disk before a checkpoint."""

import itertools
import json
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgan_jax import cli
from wgan_jax.experiment.metrics_log import MetricsLog, read_metrics

pytestmark = pytest.mark.filterwarnings("ignore")
ROOT = Path(__file__).parents[1]
TINY = [
    *("--generator.features", "4", "--critic.features", "4", "--batch-size", "8"),
    *("--n-critic", "1", "--chunk", "5", "--log-every", "5", "--checkpoint-every", "10"),
    *("--sample-every", "1000000"),
]
BAD = [
    b"no json",
    b"",
    b"[]",
    b"null",
    b'{"step": true}',
    b'{"step": 1.5}',
    b'{"step": 1' + b"0" * 400 + b"}",
    b'{"a": 1}',
    b'{"step": 3, "a": 1.5}{"step": 4}',
    b'{"step": 3, "a": ',
    b'{"step": 3, "a": 1.2.3}',
    b"\x00" * 40,
    b"\xff\xfe",
    b"[" * 100_000,
]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad[:16]))
def test_a_damaged_line_takes_no_other_with_it(bad, tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    lines = [json.dumps({"step": step, "critic/loss": step / 7}).encode() for step in (1, 2, 3, 4)]
    path.write_bytes(b"\n".join([lines[0], bad, *lines[1:]]) + b"\n")
    assert [line["step"] for line in read_metrics(path)] == [1, 2, 3, 4]
    log = MetricsLog(path, 3)
    log.write({"step": 4, "critic/loss": 0.5})
    log.close()
    assert path.read_bytes().splitlines() == [*lines[:3], b'{"step": 4, "critic/loss": 0.5}']
    assert (tmp_path / "metrics.damaged.jsonl").read_bytes() == bad + b"\n"
    assert "metrics.damaged.jsonl" in caplog.text


@given(st.integers(0, 60), st.integers(1, 9))
@settings(max_examples=30)
def test_only_what_was_cut_short_is_dropped_from_the_end(tmp_path_factory, cut, step):
    path = tmp_path_factory.mktemp("log") / "metrics.jsonl"
    lines = [json.dumps({"step": i, "a": [1.0, None], "ü": -1e-7 * i}) for i in range(1, 10)]
    data = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(data[: len(data) - cut])
    whole = [
        json.loads(line)
        for line in lines
        if data.find(line.encode()) + len(line) + cut <= len(data)
    ]
    MetricsLog(path, step).close()
    assert read_metrics(path) == [line for line in whole if line["step"] <= step]
    assert path.read_bytes() in (b"", *(data[: data.find(b"\n", i) + 1] for i in range(len(data))))
    assert not (path.parent / "metrics.damaged.jsonl").exists()


def train(workdir, *args):
    return cli.run_command(cli.train, [*TINY, "--workdir", str(workdir), *args])


@pytest.fixture(autouse=True)
def no_evaluation_at_the_end(monkeypatch):
    monkeypatch.setattr("wgan_jax.cli.evaluate.summarize_run", lambda *_: None)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of 10 steps, with what was synced and which checkpoints came, in order."""
    folder, synced = tmp_path_factory.mktemp("trained"), []
    fsync, rename = os.fsync, Path.rename

    def on_fsync(descriptor):
        fsync(descriptor)
        place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        synced.append((place.name, place.stat().st_size))

    def on_rename(self, target):
        if Path(target).name.isdigit():
            synced.append(("checkpoint", (folder / "metrics.jsonl").stat().st_size))
        return rename(self, target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("wgan_jax.cli.evaluate.summarize_run", lambda *_: None)
        patch.setattr("os.fsync", on_fsync)
        patch.setattr("pathlib.Path.rename", on_rename)
        assert train(folder, "--steps", "10") == 0
    return folder, synced


def test_metrics_and_config_are_on_the_disk_before_a_checkpoint_is(trained):
    folder, synced = trained
    (at, size) = next((i, s) for i, (name, s) in enumerate(synced) if name == "checkpoint")
    assert size > 0
    assert ("metrics.jsonl", size) in synced[:at]
    assert (folder / "config.json").stat().st_size in [size for _, size in synced[:at]]


def test_a_run_moves_damage_aside_and_tells_of_it(trained, tmp_path, capsys):
    workdir = shutil.copytree(trained[0], tmp_path / "run")
    path = workdir / "metrics.jsonl"
    first, *others = path.read_text().splitlines()
    path.write_text("\n".join([first, "{]", *others]) + "\n")
    assert train(workdir, "--steps", "15") == 0
    assert "metrics.damaged.jsonl" in capsys.readouterr().out
    steps = [json.loads(line)["step"] for line in path.read_text().splitlines()]
    assert steps == [5, 10, 15]


def test_metrics_without_a_checkpoint_are_kept_and_told(trained, tmp_path, capsys):
    workdir = shutil.copytree(trained[0], tmp_path / "run")
    former = (workdir / "metrics.jsonl").read_bytes()
    shutil.rmtree(workdir / "checkpoints")
    assert train(workdir, "--steps", "5") == 0
    said = capsys.readouterr().out
    assert "no checkpoint" in said
    assert "step 10" in said
    assert (workdir / "metrics.old.jsonl").read_bytes() == former


def long_log(path, count):
    names = [f"{who}/{what}" for who in ("critic", "generator") for what in ("loss", "norm", "x")]
    with path.open("w") as file:
        for step in range(1, count + 1):
            values = {name: (step * 7919 % 1009) / 997 for name in names}
            if step % 5_000 == 0:
                values |= {"w1/minibatch": 1 / step}
            file.write(json.dumps({"step": step, **values, "time/steps_per_second": 1.5}) + "\n")


def test_a_long_log_is_read_thinned_out_evenly(tmp_path):
    path = tmp_path / "metrics.jsonl"
    long_log(path, 30_000)
    lines = read_metrics(path, 1_000)
    steps = [line["step"] for line in lines]
    assert 1_000 <= len(lines) <= 2_010
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (1, 30_000)
    assert max(b - a for a, b in itertools.pairwise(steps)) < 3 * 30_000 / len(lines)
    assert sum("w1/minibatch" in line for line in lines) == 6
    assert len({step % 5 for step in steps}) == 5
    assert read_metrics(path, 30_000) == read_metrics(path)


def timed(code, *args):
    """Seconds and megabytes of a process of its own."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    done = subprocess.run(
        [sys.executable, "-c", code, *args],
        env={**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    return seconds, int(done.stdout.split()[-1]) / 1024


# Of this program alone, where getrusage counts what it was forked from as well.
PEAK = "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
REPORT = (
    "import sys; from wgan_jax.__main__ import main; assert main(['report', sys.argv[1]]) == 0; "
    + PEAK
)
RESTART = (
    "import sys, pathlib; from wgan_jax.experiment.metrics_log import MetricsLog; "
    "MetricsLog(pathlib.Path(sys.argv[1], 'metrics.jsonl'), 10**9).close(); " + PEAK
)


@pytest.mark.parametrize("code", [REPORT, RESTART], ids=["report", "restart"])
@pytest.mark.parametrize(
    ("count", "seconds"), [(50_000, 4), pytest.param(1_000_000, 6, marks=pytest.mark.slow)]
)
def test_a_long_log_takes_little_time_and_memory(code, count, seconds, tmp_path):
    (tmp_path / "config.json").write_text("{}")
    long_log(tmp_path / "metrics.jsonl", count)
    took, peak = timed(code, str(tmp_path))
    print(f"{took:.1f} s, {peak:.0f} MB")
    assert took < seconds
    assert peak < 400
