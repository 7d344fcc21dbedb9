"""The benchmarks run with only the packages that they compare installed."""

import ast
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from benchmarks import paper, scaling
from benchmarks.accelerator import behavior, penalty, report
from benchmarks.accelerator.images import cifar10_images
from benchmarks.accelerator.peaks import known_peak
from benchmarks.accelerator.rows import SIZES, Task, tiny
from benchmarks.speed.ours import networks
from benchmarks.speed.workloads import WORKLOADS

ROOT = Path(__file__).parents[1]
COMPARED = {"jax", "flax", "optax", "numpy", "torch"}
OURS = {"wgan_jax", "benchmarks"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module


def test_they_name_no_other_package():
    allowed = COMPARED | OURS | sys.stdlib_module_names
    files = sorted((ROOT / "benchmarks").rglob("*.py"))
    assert files
    for path in files:
        for module in imported(path):
            assert module.partition(".")[0] in allowed, f"{path} imports {module}"


def test_what_they_import_of_ours_needs_no_other_package():
    """scipy comes with jax, msgpack and rich with flax; the rest of our dependencies is blocked."""
    code = (
        "import sys\n"
        "for name in ('orbax.checkpoint', 'tensorflow_datasets', 'grain', 'tyro', 'matplotlib', "
        "'tqdm', 'sklearn', 'PIL', 'torch', 'chex'):\n"
        "    sys.modules[name] = None\n"
        "import benchmarks.speed.ours, benchmarks.speed.plain_flax, benchmarks.scaling\n"
        "import benchmarks.speed.__main__, benchmarks.accelerator.__main__\n"
        "import benchmarks.accelerator.race, benchmarks.accelerator.behavior\n"
        "import benchmarks.accelerator.penalty, benchmarks.accelerator.reference\n"
        "import benchmarks.accelerator.worker\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_smallest_row_of_the_accelerator_call_measures_as_it_goes():
    saved = []
    task = Task(saved.append, time.monotonic() + 60, 60, rehearse=True, cifar10="")
    behavior.members(task, (2,))
    assert [found["width"] for found in saved] == [8]
    assert saved[0]["ms"]["2"] > 0


@pytest.mark.process
def test_the_time_of_a_start_is_told_by_its_phases():
    command = [sys.executable, ROOT / "benchmarks" / "start.py", "--rounds", "0"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    told = [line for line in done.stdout.splitlines() if line.endswith(" s")]
    assert told[0].startswith("first start")
    assert told[-1].startswith("run it")


@pytest.mark.process
def test_contenders_are_timed_in_turn_and_those_that_fail_say_why(tmp_path):
    """PyTorch is hidden, as where it is not installed; ours are timed without it."""
    (tmp_path / "torch.py").write_text("raise ImportError('hidden')\n")
    command = [ROOT / "benchmarks" / "accelerator.sh", "--rehearse", "--out", tmp_path]
    path = os.pathsep.join([str(tmp_path), str(ROOT)])
    env = {**os.environ, "PYTHONPATH": path, "PYTHON": sys.executable}
    done = subprocess.run([*command, "--rows", "W1"], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    row = json.loads((tmp_path / "accelerator.json").read_text())["W1"]
    assert row["status"] == "done"
    assert row["refused"]["torch eager float32"] == "ImportError: hidden"
    timed = row["variants"]
    assert set(timed) == {f"ours {x} a call" for x in ("float32, 1", "float32, 4", "bf16, 1")}
    assert all(variant["ms"] > 0 and variant["rounds"] >= 1 for variant in timed.values())


@pytest.mark.process
def test_the_accelerator_call_keeps_its_rows_apart(tmp_path):
    """One row has no data that it can read and fails; the next is done; both are written down."""
    command = [ROOT / "benchmarks" / "accelerator.sh", "--rehearse", "--out", tmp_path]
    command += ["--cifar10", tmp_path / "missing", "--rows", "cifar10", "resume"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable}
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "accelerator.json").read_text())
    assert results["cifar10"]["status"].startswith("failed, status 1:")
    assert "holds no data_batch_*.bin" in results["cifar10"]["status"]
    assert results["resume"]["status"] == "done"
    assert results["resume"]["equal"] is True
    assert 1 <= results["resume"]["killed_after"] < results["resume"]["chunks"]
    told = (tmp_path / "accelerator.md").read_text()
    assert "A rehearsal" in told
    assert "| equal | yes |" in told


def test_a_race_that_was_stopped_is_told_as_far_as_it_came():
    timed = {"ms": 2.0, "mfu": 0.5, "share_of_measured": None, "memory": None, "rounds": 3}
    race = {
        "status": "stopped at its 45 s",
        "seconds": 50.0,
        "about": "a toy",
        "gflop": 1.0,
        "device": "X1",
        "peaks": {"float32": {"known": None, "measured": 1e12}},
        "variants": {
            "ours float32": timed | {"torch_over_this": 5.5},
            "torch eager float32": timed | {"ms": 11.0},
            "ours bf16": {"memory": None},
        },
        "best_torch": "torch eager float32",
        "refused": {"torch graphs TF32": "needs a GPU"},
    }
    told = report.markdown({"W1": race, "cpu": {"status": "left out: no time left"}})
    assert "| W1 | ours float32: 2 ms | torch eager float32: 11 ms | 5.50 | 5 |" in told
    assert "| ours bf16 | not timed |" in told
    assert "torch graphs TF32: not run, needs a GPU" in told
    assert "left out: no time left." in told


def test_peaks_are_known_by_the_words_of_a_device():
    assert known_peak("NVIDIA H100 80GB HBM3", "TF32") == 494e12
    assert known_peak("NVIDIA H100 PCIe", "bf16") == 756e12
    assert known_peak("NVIDIA A100-SXM4-40GB", "float32") == 19.5e12
    assert known_peak("NVIDIA L4", "bf16") == 121e12
    assert known_peak("TPU v5 lite", "bf16") == 197e12
    assert known_peak("TPU v5 lite", "TF32") is None
    assert known_peak("cpu", "float32") is None


def test_images_are_read_from_the_binary_version_and_from_numpy(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), np.uint8)
    planes = images.transpose(0, 3, 1, 2).reshape(3, -1)
    rows = np.concatenate([np.full((3, 1), 7, np.uint8), planes], 1)
    rows.tofile(tmp_path / "data_batch_1.bin")
    np.save(tmp_path / "images.npy", images)
    for path in (tmp_path, tmp_path / "images.npy"):
        np.testing.assert_array_equal(cifar10_images(path), images)


def test_the_game_on_cifar10_is_that_of_its_config():
    from configs.cifar10 import get_config
    from wgan_jax.experiment.build import build_gan

    config = get_config()
    real = jax.ShapeDtypeStruct((config.batch_size, 32, 32, 3), np.float32)
    key = jax.random.key(0)
    shapes = [
        jax.eval_shape(model.init, key, real).generator.params
        for model in (behavior.cifar10_gan(), build_gan(config))
    ]
    assert jax.tree.map(np.shape, shapes[0]) == jax.tree.map(np.shape, shapes[1])
    assert (config.n_critic, config.batch_size, config.clip.c) == (5, 64, 0.01)
    assert (config.warmup.n_critic, config.warmup.first, config.warmup.every) == (100, 25, 500)


def test_a_penalty_whose_gradient_is_dropped_is_noticed():
    torch_peer = pytest.importorskip("benchmarks.speed.pytorch", reason="needs torch")

    workload = tiny(SIZES["W2"])
    peer = torch_peer.PyTorch(workload)
    states = peer.states()
    penalty.check_gradient(peer, workload, states)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_peer, "GP_WEIGHT", 0.0)
        with pytest.raises(ValueError, match="it drops the gradient of the penalty"):
            penalty.check_gradient(peer, workload, states)


def test_the_estimate_on_paper_counts_what_the_networks_have():
    workload = WORKLOADS["W4"]
    modules = networks(workload)
    shapes = (1, workload.latent), (1, 64, 64, 3)
    for module, shape, counted in zip(modules, shapes, paper.parameters(workload), strict=True):
        x = jax.ShapeDtypeStruct(shape, "float32")
        weights = jax.eval_shape(module.init, jax.random.key(0), x)
        kernels = [x.size for x in jax.tree.leaves(weights["params"]) if x.ndim > 1]
        assert sum(kernels) == counted
    one, eight = (paper.cost(workload, cluster) for cluster in paper.CLUSTERS[:2])
    assert one.gradients == one.statistics == 0
    assert (one.arithmetic, one.memory) == (eight.arithmetic, eight.memory)
    assert eight.total > one.total > 0
    page = (ROOT / "docs" / "performance.md").read_text()
    assert "\n".join(paper.table(workload)) in page
    assert "**None of this was run.**" in page


def test_scaling_tells_time_and_work_against_the_first():
    axes = ("batch", "width", "filters", "pixels", "members")
    assert {len(scaling.points(axis)) >= 3 for axis in axes} == {True}
    batch = scaling.table("batch", {"64": 0.001, "128": 0.003}).splitlines()
    assert batch[2].split() == ["128", "3.00", "3.00", "2.00"]
    devices = scaling.table("devices", {"1": 0.001, "2": 0.002})
    assert "not the gain from hardware" in devices
