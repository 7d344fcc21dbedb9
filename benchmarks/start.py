"""Time from the start of `train.py` to its first finished chunk, and its breakdown.

    python benchmarks/start.py [--rounds N] [ARGUMENTS OF train.py ...]

The first start has an empty compilation cache, the others use the programs that it
compiled. The phases are timed in one more start, in a process of its own.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
PHASES = """
import sys, time
began = time.perf_counter()
def phase(name):
    global began
    now = time.perf_counter()
    print(f"{name:34}{now - began:8.2f} s", flush=True)
    began = now
import jax; phase("import jax")
import wgan_jax; phase("import wgan_jax")
from wgan_jax import cli
from wgan_jax.cli import flags
from wgan_jax.cli.compile_cache import keep_compiled_programs
from wgan_jax.experiment.distributed.placement import make_sharding
from wgan_jax.experiment.chunks import next_chunk
from wgan_jax.experiment.prefetch import prefetch
from wgan_jax.experiment.run import open_run
from wgan_jax.experiment.writers import open_writer
phase("import the experiment")
from pathlib import Path
keep_compiled_programs()
config = flags.parse(sys.argv[2:], flags.load("configs/eight_gaussians.py"), prog="", about="")
phase("read the config")
run = open_run(config, Path(sys.argv[1]))
jax.block_until_ready(run.state); phase("data, networks, initial weights")
sharding, workdir = make_sharding(config), Path(sys.argv[1])
with open_writer(run, workdir), prefetch(config, run.data, run.state, sharding) as batches:
    phase("open the writer")
    program, data = run.compile(sharding)(next_chunk(config, 0)), batches.take()
    lowered = program.lower(run.state, data); phase("trace the chunk")
    compiled = lowered.compile(); phase("compile it, or load it")
    jax.block_until_ready(compiled(run.state, data)); phase("run it")
"""


def first_chunk(arguments: list[str], environment: dict[str, str]) -> str:
    """Return wall and CPU time from process start to the first line of metrics.jsonl."""
    with tempfile.TemporaryDirectory() as workdir:
        metrics = Path(workdir, "metrics.jsonl")
        began = time.perf_counter()
        command = [sys.executable, "train.py", "--workdir", workdir, *arguments]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL)
        try:
            while not (metrics.exists() and metrics.stat().st_size):
                if process.poll() is not None:
                    raise SystemExit(f"train.py ended with status {process.returncode}")
                time.sleep(0.01)
            elapsed = time.perf_counter() - began
        finally:
            process.kill()
            usage = os.wait4(process.pid, 0)[2]
            process.returncode = 0  # it has been waited for
        return f"{elapsed:6.1f} s, CPU time {usage.ru_utime + usage.ru_stime:6.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=3, help="number of starts after the first")
    known, arguments = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as cache, tempfile.TemporaryDirectory() as workdir:
        environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": cache}
        environment["PYTHONPATH"] = str(ROOT)
        print(f"first start   {first_chunk(arguments, environment)}", flush=True)
        for _ in range(known.rounds):
            print(f"next start    {first_chunk(arguments, environment)}", flush=True)
        Path(workdir, "samples").mkdir()
        command = [sys.executable, "-c", PHASES, workdir, *arguments]
        subprocess.run(command, cwd=ROOT, env=environment, check=True)


if __name__ == "__main__":
    main()
