"""Multi-host runs: real processes on loopback, stopped and killed."""

import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import yaml
from image_folders import write

from wgan_jax import cli
from wgan_jax.cli.flags import load
from wgan_jax.errors import UserError
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.checkpoint.manifest import to_host_arrays
from wgan_jax.experiment.distributed import processes, shutdown
from wgan_jax.experiment.distributed.rendezvous import rendezvous
from wgan_jax.experiment.run import open_run
from wgan_jax.experiment.train import train

ROOT = Path(__file__).parents[1]
TINY = [
    *("--generator.features", "16", "--critic.features", "16", "--batch-size", "32"),
    *("--chunk", "7", "--log-every", "7", "--checkpoint-every", "20", "--sample-every", "1000"),
]
DEADLINE = 10.0


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(index, address, args, workdir):
    told = ["--coordinator", address, "--process-count", "2", "--process-index", str(index)]
    env = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "train.py", *args, "--workdir", str(workdir), *told]
    return subprocess.Popen(
        command, cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def start_both(args, workdir, other=None):
    address = f"127.0.0.1:{port()}"
    return [start(i, address, a, workdir) for i, a in enumerate((args, other or args))]


def finish(pair, timeout=300):
    """Exit status and stderr of each; none of them outlives the test."""
    try:
        said = [process.communicate(timeout=timeout)[1] for process in pair]
    finally:
        for process in pair:
            process.kill()
    return [process.returncode for process in pair], said


def wait_for_checkpoint(pair, workdir, after=0):
    until = time.monotonic() + 200
    while max(Checkpoints(workdir / "checkpoints").steps(), default=0) <= after:
        assert all(process.poll() is None for process in pair), finish(pair)
        assert time.monotonic() < until, finish(pair, 1)
        time.sleep(0.02)


def leave_after(pair, number, victim):
    """Signal one of them; seconds until both are gone, and how the other went."""
    pair[victim].send_signal(number)
    began = time.monotonic()
    statuses, said = finish(pair)
    return time.monotonic() - began, statuses, said


def arrays(state):
    return to_host_arrays(state)


def leaves(workdir):
    return arrays(open_run(load(workdir / "config.json"), workdir).state)


def losses(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return np.array([[line["critic/loss"], line["generator/loss"]] for line in lines])


@pytest.mark.process
@pytest.mark.filterwarnings("ignore")
def test_two_hosts_stop_together_and_train_as_one_does(tmp_path):
    args, two = [*TINY, "--steps", "2000"], tmp_path / "two"
    pair = start_both(args, two)
    wait_for_checkpoint(pair, two)
    seconds, statuses, said = leave_after(pair, signal.SIGTERM, victim=1)
    assert statuses == [143, 143]
    assert seconds < DEADLINE
    saved = Checkpoints(two / "checkpoints").steps()[0]
    assert said[0] == said[1] == f"stopped by SIGTERM, step {saved} is saved\n"

    pair = start_both(args, two)
    wait_for_checkpoint(pair, two, after=saved)
    seconds, statuses, said = leave_after(pair, signal.SIGKILL, victim=0)
    assert seconds < DEADLINE
    assert statuses == [-signal.SIGKILL, 1]
    assert said[1].count("\n") == 1
    assert "another host of the run stopped responding" in said[1]

    saved = Checkpoints(two / "checkpoints").steps()[0]
    statuses, said = finish(start_both([*TINY, "--steps", str(saved + 20)], two))
    assert statuses == [0, 0], said
    one = train(load(two / "config.json"), tmp_path / "one", devices=1)
    for a, b in zip(leaves(two), arrays(one.state), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5 * np.abs(b).max())


@pytest.mark.filterwarnings("ignore")
def test_hosts_that_disagree_are_told_and_gone(tmp_path):
    pair = start_both([*TINY, "--steps", "20"], tmp_path, [*TINY, "--steps", "20", "--seed", "3"])
    statuses, said = finish(pair)
    assert statuses == [2, 2]
    assert said[0] == said[1] == "error: host 1 differs from host 0 in seed\n"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_host_is_killed_and_the_run_goes_on_bitwise(victim, tmp_path):
    args = [
        *("--config", "configs/digits.py", "--critic.norm", "batch", "--steps", "150"),
        *("--generator.filters", "8", "--critic.filters", "8", *TINY[4:]),
    ]
    assert finish(start_both(args, tmp_path / "whole"))[0] == [0, 0]
    pair = start_both(args, tmp_path / "killed")
    wait_for_checkpoint(pair, tmp_path / "killed")
    seconds, statuses, said = leave_after(pair, signal.SIGKILL, victim)
    assert seconds < DEADLINE
    assert statuses[1 - victim] == 1
    assert said[1 - victim].count("\n") == 1
    assert finish(start_both(args, tmp_path / "killed"))[0] == [0, 0]
    for a, b in zip(leaves(tmp_path / "whole"), leaves(tmp_path / "killed"), strict=True):
        np.testing.assert_array_equal(a, b)
    short = dataclasses.replace(load(tmp_path / "whole/config.json"), steps=49)
    train(short, tmp_path / "one", devices=1)
    one, two = losses(tmp_path / "one"), losses(tmp_path / "whole")[:7]
    assert np.abs(one - two).max() < 1e-3 * np.abs(one).max()


def gather(*hosts, timeout=20.0, port_of=None):
    """What each of some processes, given by index and count, is told; threads stand for them."""
    address = f"127.0.0.1:{port_of or port()}"

    def join(index, count):
        try:
            rendezvous(address, address, count, index, timeout)
        except UserError as error:
            return str(error)
        return "complete"

    with ThreadPoolExecutor(len(hosts)) as pool:
        return list(pool.map(lambda host: join(*host), hosts))


def test_processes_that_are_all_there_go_on():
    assert gather((2, 3), (1, 3), (0, 3)) == ["complete"] * 3
    assert gather((0, 1)) == ["complete"]


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        ([(0, 3), (1, 3), (1, 3)], "two processes have --process-index 1"),
        ([(0, 2), (1, 3)], "process 1 has --process-count 3, but process 0 has 2"),
        ([(0, 3), (2, 2)], "process 2 has --process-count 2, but process 0 has 3"),
        ([(0, 3), (4, 3)], "two processes have --process-index 4|from 0 to 2"),
    ],
)
def test_processes_that_do_not_fit_are_all_told_at_once(hosts, told):
    began = time.monotonic()
    said = gather(*hosts)
    assert time.monotonic() - began < 10
    assert len(set(said)) == 1
    assert re.search(told, said[0])


def test_who_is_missing_is_told_while_waiting_and_at_the_end(caplog, monkeypatch):
    from wgan_jax.experiment.distributed import rendezvous as module

    monkeypatch.setattr(module, "_NOTICE_SECONDS", 0.2)
    said = gather((0, 4), (2, 4), timeout=1.5)
    assert said[0] == said[1]
    assert "within 2 s: no connection from processes 1, 3 of 4" in said[0]
    # Both say it, again and again (before the second has come, the first waits for it as well).
    assert sum("waiting for processes 1, 3 of 4" in said for said in caplog.messages) > 3
    caplog.clear()
    assert "no connection to process 0" in gather((1, 2), timeout=1.0)[0]
    assert "waiting for process 0" in caplog.messages[0]


def test_a_process_that_is_started_anew_is_no_second_one():
    place = port()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(gather, (0, 3), port_of=place)
        hello = b'{"protocol": "wgan_jax 1", "index": 1, "count": 3}\n'
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                with socket.create_connection(("127.0.0.1", place), timeout=5) as killed:
                    killed.sendall(hello)
                    killed.recv(100)
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        assert gather((1, 3), (2, 3), port_of=place) == ["complete"] * 2
        assert first.result() == ["complete"]


def test_a_port_that_is_taken_is_told_to_all():
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as pool:
        place = other.getsockname()[1]
        answer = pool.submit(lambda: other.accept()[0])
        told = pool.submit(lambda: answer.result().sendall(b"SSH-2.0-nothing\r\n"))
        said = gather((0, 2), (1, 2), port_of=place)
        told.result()
        answer.result().close()
    assert "is in use" in said[0]
    assert "another program" in said[1]


@pytest.mark.parametrize("noise", [b"GET / HTTP/1.1\r\n\r\n", b"[" * 5000, b"{}\n", b"\xff\n"])
def test_strangers_at_the_port_change_nothing(noise):
    place = port()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(gather, (0, 2), port_of=place)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                stranger = socket.create_connection(("127.0.0.1", place), timeout=5)
                break
            except ConnectionRefusedError:
                time.sleep(0.01)
        with stranger:
            stranger.sendall(noise)
            assert gather((1, 2), port_of=place) == ["complete"]
        assert first.result() == ["complete"]


@pytest.mark.filterwarnings("ignore")
def test_the_command_line_says_who_did_not_come(tmp_path):
    hosts = start(1, f"127.0.0.1:{port()}", [*TINY, "--join-timeout", "1"], tmp_path / "run")
    statuses, said = finish([hosts])
    assert (statuses, said[0].count("\n")) == ([2], 1)
    assert "no connection to process 0" in said[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_slurm_is_found_by_itself(tmp_path):
    job = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu", "SLURM_NTASKS": "2"}
    job |= {"SLURM_JOB_ID": str(port()), "SLURM_STEP_NODELIST": "localhost"}
    command = [sys.executable, "train.py", *TINY, "--steps", "20", "--workdir", str(tmp_path)]
    pair = [
        subprocess.Popen(
            command,
            cwd=ROOT,
            env={**job, "SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    statuses, said = finish(pair)
    assert statuses == [0, 0], said
    assert Checkpoints(tmp_path / "checkpoints").steps() == [20]


@pytest.mark.process
@pytest.mark.filterwarnings("ignore")
def test_the_pods_of_the_kubernetes_example_train_together(tmp_path):
    service, job = yaml.safe_load_all((ROOT / "examples/kubernetes.yaml").read_text())
    pods = job["spec"]["template"]["spec"]
    [container], name = pods["containers"], job["metadata"]["name"]
    assert service["spec"]["selector"] == {"job-name": name}
    assert service["metadata"]["name"] == pods["subdomain"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 2
    assert container["command"] == ["wgan-jax", "train"]
    first = f"{name}-0.{pods['subdomain']}:1234"  # what the cluster calls pod 0
    assert any(first in arg for arg in container["args"])
    for i in range(8):
        write(tmp_path / f"pictures/{i}.png", i)
    places = {first: f"localhost:{port()}", "/data": str(tmp_path)}
    env = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    env |= {entry["name"]: entry["value"] for entry in container["env"]}
    tiny = ["--dataset.image-size", "8", "--batch-size", "8", "--steps", "2", "--n-critic", "1"]
    tiny += ["--generator.filters", "2", "--critic.filters", "2", "--penalty", "none"]

    def start(index):
        def placed(text):
            for there, here in {**places, "$(JOB_COMPLETION_INDEX)": str(index)}.items():
                text = text.replace(there, here)
            return text

        args = [placed(arg) for arg in container["args"]]
        return subprocess.Popen(
            [sys.executable, "train.py", *args, *tiny],
            cwd=ROOT,
            env={key: placed(value) for key, value in env.items()},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    statuses, said = finish([start(index) for index in range(2)])
    assert statuses == [0, 0], said
    assert Checkpoints(tmp_path / "runs/pictures/checkpoints").steps() == [2]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["--distributed", "yes"], "auto, on, off"),
        (["--coordinator", "127.0.0.1:1234"], "go together"),
        (["--distributed", "off", "--process-count", "2"], "cannot be combined"),
        (
            ["--coordinator", "here", "--process-count", "2", "--process-index", "0"],
            "HOST:PORT",
        ),
        (
            ["--coordinator", "here:1", "--process-count", "2", "--process-index", "2"],
            "from 0 to 1",
        ),
        (["--join-timeout", "soon"], "--join-timeout"),
        (["--devices", "3"], "1 to 2"),
        (["--batch-size", "33"], "--batch-size 32 or 34, or --devices 1"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_bad_topologies_are_told_in_one_line(args, told, tmp_path, capsys, monkeypatch):
    for name in ("SLURM_STEP_NODELIST", "KUBERNETES_SERVICE_HOST", "OMPI_COMM_WORLD_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert cli.run_command(cli.train, [*args, "--workdir", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert told in said


def test_where_a_cluster_must_be_its_absence_is_told_in_one_line(tmp_path):
    clusters = ("SLURM", "KUBERNETES", "OMPI", "PMI")
    env = {k: v for k, v in os.environ.items() if not k.startswith(clusters)}
    done = subprocess.run(
        [sys.executable, "train.py", "--distributed", "on", "--workdir", str(tmp_path)],
        cwd=ROOT,
        env=env | {"JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "found no cluster" in done.stderr


def test_one_host_agrees_with_itself():
    assert processes.all_gather({"a": 1}) == [{"a": 1}]
    assert processes.all_reduce_max(3) == 3
    assert processes.run_on_all(lambda: 5) == 5
    processes.assert_same_on_all({"a": 1}, lambda a, b: "nothing")
    with pytest.raises(UserError, match="mine"):
        processes.run_on_all(lambda: (_ for _ in ()).throw(UserError("mine")))


def test_what_is_handed_over_comes_out_bitwise():
    arrays = [np.float32([-0.0, np.nan]), np.arange(3, dtype=np.uint8), np.int32(7).reshape(())]
    words = processes._pack(arrays)
    assert words.dtype == np.uint32
    for a, b in zip(arrays, processes._unpack(words, arrays), strict=True):
        assert a.tobytes() == b.tobytes()
        assert (a.shape, a.dtype) == (b.shape, b.dtype)


def test_what_the_runtime_says_of_a_lost_host_is_known():
    lost = "UNKNOWN: Gloo AllGather failed: Connection closed by peer [127.0.0.1]:57540"
    assert shutdown.is_peer_failure(ValueError(lost))
    assert not shutdown.is_peer_failure(ValueError("a batch of 3 is larger than the 2 examples"))
    assert not shutdown.is_peer_failure(OSError(lost))
