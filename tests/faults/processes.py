"""Real `train.py` processes, forked from one that has imported but not used JAX."""

import contextlib
import io
import json
import multiprocessing
import multiprocessing.forkserver
import os
import resource
import runpy
import signal
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np

from wgan_jax.cli.flags import load
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.run import open_run

from .inputs import noise_images, prepared

ROOT = Path(__file__).parents[2]
PRELOADED = (
    "jax.numpy",
    "matplotlib.pyplot",
    "orbax.checkpoint",
    "sklearn.datasets",
    "tests.faults.processes",
    "tqdm",
    "tyro",
    "wgan_jax.cli",
    "wgan_jax.experiment.train",
)
CADENCE = [
    *("--batch-size", "16", "--chunk", "7", "--log-every", "10"),
    *("--checkpoint-every", "10", "--sample-every", "1000000"),
]
DATA = "DATA"  # stands for a folder of prepared images
TINY = ["--generator.features", "16", "--critic.features", "16", *CADENCE]
MODELS = {
    "clipped MLPs": TINY,
    "DCGANs with batch norm": [
        *("--config", "configs/digits.py", "--critic.norm", "batch"),
        *("--generator.filters", "4", "--critic.filters", "4", *CADENCE),
    ],
    "gradient penalty, Adam": [
        *("--clip", "none", "--penalty", "gradient-penalty", *TINY),
        *("--generator-optimizer", "adam", "--critic-optimizer", "adam"),
    ],
    "a sweep": [*TINY, "--sweep.seeds", "2"],
    "critic steps until a plateau": [*TINY, "--adaptive", "adaptive", "--adaptive.most", "10"],
    "conditional": [
        *("--config", "configs/digits_conditional.py", "--n-critic", "2"),
        *("--generator.filters", "2", "--critic.filters", "2", *CADENCE),
    ],
    "a VAE": [
        *("--objective", "evidence-bound", "--clip", "none", "--n-critic", "1"),
        *(*TINY, "--critic.output-shape", "4"),
    ],
    "ResNets, averaged": [
        *("--config", "configs/digits_resnet.py", "--n-critic", "1"),
        *("--penalty", "none", "--clip", "clip"),  # which compile in less time
        *("--generator.filters", "2", "--critic.filters", "2", *CADENCE),
    ],
    "spectral norm": ["--config", "configs/ring.py:spectral_norm", *TINY],
    "a stream": [
        *("--config", "configs/digits.py", "--dataset", "tfds-stream", "--n-critic", "2"),
        *("--dataset.name", "strange", "--dataset.image-size", "8", "--dataset.channels", "1"),
        *("--generator.filters", "2", "--critic.filters", "2", *CADENCE),
        *("--dataset.data-dir", DATA),
    ],
}
_SECONDS = 900  # compiling a ResNet beside other work takes a few minutes


@contextlib.contextmanager
def forks(cache):
    """A function `(args, workdir, **how) -> Trainer` whose processes share compiled programs."""
    shared = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "PYTHONWARNINGS": "ignore",
    }
    former = {name: os.environ.get(name) for name in shared}
    os.environ.update(shared)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    started = []

    def start(args, workdir, **how):
        started.append(Trainer(context, args, workdir, how))
        return started[-1]

    try:
        yield start
    finally:
        for one in started:
            one.kill()
        for name, value in former.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


class Trainer:
    """`python train.py ARGS --workdir WORKDIR`, its output in a file beside the workdir.

    `beside` names another folder for it, where the workdir's disk is to be filled.
    """

    def __init__(self, context, args, workdir, how):
        beside = how.pop("beside", workdir.parent)
        self.said = Path(tempfile.mkstemp(prefix="said-", dir=beside)[1])
        args = [str(_prepared(workdir.parent)) if arg == DATA else arg for arg in args]
        command = ["train.py", *args, "--workdir", str(workdir)]
        self._process = context.Process(target=_run, args=(command, self.said, how), daemon=True)
        self._process.start()
        self.pid = self._process.pid

    def wait(self, seconds=_SECONDS):
        """The exit status, negative for a signal."""
        self._process.join(seconds)
        assert self._process.exitcode is not None, f"it hangs: {self.said.read_text()}"
        return self._process.exitcode

    def ends_within(self, seconds):
        self._process.join(seconds)
        return not self.running()

    def running(self):
        return self._process.is_alive()

    def signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self):
        self._process.kill()
        self._process.join()

    def wait_for(self, condition):
        until = time.monotonic() + _SECONDS
        while not condition():
            assert self.running(), self.said.read_text()
            assert time.monotonic() < until
            time.sleep(0.005)

    def lines(self):
        """What went to stderr, without the progress on stdout."""
        return Path(f"{self.said}.err").read_text().splitlines()


def _prepared(place):
    """A folder of images beside a workdir, made once."""
    folder = place / "images"
    if not folder.exists():
        with contextlib.redirect_stdout(io.StringIO()):
            prepared(folder, noise_images(24))
    return folder


def _run(command, said, how):
    """In the fork: the door itself, its output redirected.

    pictures: whether to draw them; they take most of a short run's time.
    evaluation: whether to judge the samples at the end, which takes ten seconds.
    largest: bytes that a file may have.
    patch: a function to call first.
    """
    for stream, path in ((sys.stdout, said), (sys.stderr, f"{said}.err")):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), stream.fileno())
    os.chdir(ROOT)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    from wgan_jax.cli import evaluate as cli_evaluate
    from wgan_jax.experiment import plots
    from wgan_jax.experiment.writers import RunWriter

    if not how.get("pictures"):
        plots.plane = plots.image_grid = plots.curves = _no_picture
        RunWriter.update_report = lambda self, *, last: None
    if not how.get("evaluation"):
        cli_evaluate.summarize_run = lambda *_: None
    if largest := how.get("largest"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    if patch := how.get("patch"):
        patch()
    sys.argv = command
    runpy.run_path("train.py", run_name="__main__")


def _no_picture(*arguments, **_):
    arguments[-1].write(b"a picture")


def state_of(workdir):
    """The arrays of the newest checkpoint and the metrics without times."""
    run = open_run(load(workdir / "config.json"), workdir)
    return [as_data(leaf) for leaf in jax.tree.leaves(run.state)], metrics_of(workdir)


def metrics_of(workdir):
    """The lines of metrics.jsonl and, of a sweep, of its members, without times."""
    logs = [
        path for path in (workdir / "metrics.jsonl", workdir / "members.jsonl") if path.exists()
    ]
    lines = [json.loads(text) for path in logs for text in path.read_text().splitlines()]
    return [{k: v for k, v in line.items() if "time/" not in k} for line in lines]


def manifest_of(workdir, step):
    """SHA-256 of each leaf of a checkpoint, as its manifest has them."""
    path = workdir / "checkpoints" / str(step) / "manifest" / "metadata"
    return [leaf["sha256"] for leaf in json.loads(path.read_text())["leaves"]]


def steps_of(workdir):
    return Checkpoints(workdir / "checkpoints").steps()


def as_data(leaf):
    is_key = jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(leaf) if is_key else leaf)


def processor_seconds():
    """What all forks have taken so far that are gone."""
    server = multiprocessing.forkserver._forkserver._forkserver_pid
    if server is None:
        return 0.0
    fields = Path(f"/proc/{server}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[13:15])) / os.sysconf("SC_CLK_TCK")
