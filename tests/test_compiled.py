"""The compilation cache persists between processes, and nothing depends on it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from wgan_jax.experiment.metrics_log import read_metrics

ROOT = Path(__file__).parents[1]
TINY = [
    *("--generator.features", "8", "--critic.features", "8", "--batch-size", "16"),
    *("--n-critic", "2", "--chunk", "10", "--log-every", "10", "--steps", "20"),
]


def environment(folder, **more):
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    return {**kept, "XDG_CACHE_HOME": str(folder), "PYTHONPATH": str(ROOT), **more}


TRAIN = """
import sys
from pathlib import Path
from wgan_jax.cli import flags
from wgan_jax.experiment.train import train
from wgan_jax.cli.compile_cache import keep_compiled_programs
keep_compiled_programs()
config = flags.parse(sys.argv[2:], flags.load("configs/eight_gaussians.py"), prog="", about="")
train(config, Path(sys.argv[1]))
"""


def metrics(workdir, cache):
    """Of a run in a process of its own, without what `train.py` measures at the end."""
    command = [sys.executable, "-c", TRAIN, str(workdir), *TINY]
    subprocess.run(command, cwd=ROOT, env=environment(cache), check=True, capture_output=True)
    lines = read_metrics(workdir / "metrics.jsonl")
    return [{k: v for k, v in line.items() if "time/" not in k} for line in lines]


@pytest.mark.process
@pytest.mark.filterwarnings("ignore")
def test_damaged_programs_are_compiled_anew_and_whole_ones_give_the_same_numbers(tmp_path):
    first = metrics(tmp_path / "first", tmp_path / "cache")
    kept = sorted((tmp_path / "cache/wgan_jax/compiled").glob("*-cache"))
    assert kept
    for i, path in enumerate(kept):
        data = bytearray(path.read_bytes())
        if i % 3 == 0:
            data[len(data) // 2] ^= 1
        elif i % 3 == 1:
            data = data[: len(data) // 2]
        path.write_bytes(bytes(data))
    again = metrics(tmp_path / "again", tmp_path / "cache")
    assert again == first
    assert len(first) == 2
    assert all(np.isfinite(value) for line in first for value in line.values())


@pytest.mark.parametrize("enabled", ["true", "false"])
def test_it_can_be_turned_off(enabled, tmp_path):
    code = (
        "import jax; from wgan_jax.cli.compile_cache import keep_compiled_programs as keep; "
        "keep(); jax.block_until_ready(jax.jit(lambda x: x + 1)(1.0))"
    )
    env = environment(tmp_path, JAX_ENABLE_COMPILATION_CACHE=enabled)
    subprocess.run([sys.executable, "-c", code], env=env, check=True)
    assert bool(list(tmp_path.rglob("*-cache"))) is (enabled == "true")
