"""Command implementations and error handling shared by the entry points."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax

from wgan_jax import flags
from wgan_jax.cli_arguments import parse_nonnegative_int, require_local_data, workdir
from wgan_jax.data.remote import is_remote, redacted
from wgan_jax.errors import UserError
from wgan_jax.experiment import hosts, last_words
from wgan_jax.experiment.codec import differences, fingerprint, to_dict
from wgan_jax.experiment.compiled import keep_compiled_programs
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.mirror import Mirror
from wgan_jax.experiment.placement import require_devices
from wgan_jax.experiment.signals import Stopped, collected

_ABOUT = """Train a Wasserstein GAN.

With no arguments: the 8 Gaussians, no download, under a minute on two cores.
--config FILE    a configs/NAME.py (with an argument: configs/ring.py:wgan_gp), or the config.json
                 of a workdir
--workdir DIR    where the run is kept; one that holds a checkpoint goes on from it;
                 gs://BUCKET/FOLDER is worked on in runs/ and copied there at each checkpoint
--devices N      share the batch among the first N devices of this host, not all
--population.seeds N    train N seeds as one program; --population population --help tells more

Several hosts, each with the same command:
--distributed auto|on|off    find the others on Cloud TPU, Slurm, Kubernetes or MPI (auto)
--coordinator HOST:PORT --process-count N --process-index I    anywhere else
--join-timeout SECONDS    how long to wait for the others (300)"""


class _ConsoleHandler(logging.Handler):
    """Prints messages as plain lines, above a progress bar if there is one."""

    def __init__(self, stream: str):
        super().__init__(logging.INFO)
        self._stream = stream

    def emit(self, record: logging.LogRecord) -> None:
        from tqdm import tqdm

        if (file := getattr(sys, self._stream)) is not None:
            tqdm.write(self.format(record), file=file)
            file.flush()


def _log_to(stream: str) -> None:
    logger = logging.getLogger("wgan_jax")
    logger.handlers = [_ConsoleHandler(stream)]
    logger.setLevel(logging.INFO)


def run_command(command: Callable[[list[str]], int], args: list[str]) -> int:
    """Run a command; bad input becomes one line on stderr and exit status 2."""
    keep_compiled_programs()
    _log_to("stdout" if command is train else "stderr")
    try:
        return command(args)
    except UserError as error:
        return _refuse(str(error))
    except OSError as error:  # of a path that no system takes, or a disk that goes away
        name = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{name}{error.strerror or error}")
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        return _refuse(
            f"more memory is asked for than there is: make the batch, the networks or the number "
            f"of samples smaller ({error})"
        )
    except KeyboardInterrupt:
        return 130


guarded = run_command  # its former name, for one version


def _refuse(reason: str) -> int:
    words = (word if len(word) < 300 else f"{word[:100]}...{word[-50:]}" for word in reason.split())
    print(f"error: {redacted(' '.join(words))}", file=sys.stderr)
    return 2


def train(args: list[str]) -> int:
    """`train.py`: exit status 0 done, 1 another host stopped responding, 2 bad input.

    143 is that of a run stopped by SIGTERM with everything saved; other signals give 128 and
    their number as well.
    """
    told, args = _topology(args)
    with last_words.distributed_context(**told):
        return _train(args)


def _train(args: list[str]) -> int:
    require_devices()
    given, args = flags.path_option(args, "workdir")
    devices, args = flags.option(args, "devices")
    name, config = hosts.together(lambda: _config(args))
    hosts.agree(to_dict(config), lambda ours, theirs: ", ".join(differences(ours, theirs)))
    count = None if devices is None else parse_nonnegative_int("devices", devices, 1)
    from wgan_jax.experiment import train as loop
    from wgan_jax.experiment.report.reporter import write_report
    from wgan_jax.experiment.sweep_run import SweepRun

    if config.population is not None and (hosts.count() > 1 or is_remote(given or "")):
        raise UserError("a population trains on one host, in a folder of that host")
    mirror = Mirror(given) if given is not None and is_remote(given) else None
    folder = Path(given) if given else Path("runs") / f"{name}-{fingerprint(config)}"
    if mirror is not None:
        folder = mirror.folder
        hosts.together(lambda: mirror.pull() if hosts.is_first() else None)
    pushed = mirror.push if mirror else lambda: None
    try:
        with collected():
            try:
                run = loop.train(config, folder, devices=count, on_save=pushed)
            except Stopped as stop:
                print(stop, file=sys.stderr, flush=True)
                return stop.exit_status
        if isinstance(run, SweepRun):
            print(run.write_table(folder))
            print(f"report  {write_report(folder)}")
            return 0
    except (ValueError, OSError) as error:
        if last_words.is_peer_failure(error):
            raise
        raise UserError(str(error)) from error
    if hosts.is_first():
        from wgan_jax.cli_evaluate import summarize_run

        summarize_run(run, folder)
        if mirror is not None:
            mirror.push()
    return 0


def _topology(args: list[str]) -> tuple[dict[str, Any], list[str]]:
    """The flags that say which hosts train together; asking for help needs none."""
    mode, args = flags.option(args, "distributed")
    coordinator, args = flags.option(args, "coordinator")
    numbers = {}
    for name in ("process-count", "process-index"):
        text, args = flags.option(args, name)
        number = None if text is None else parse_nonnegative_int(name, text)
        numbers[name.replace("-", "_")] = number
    limit, args = flags.option(args, "join-timeout")
    timeout = (
        hosts.JOIN_TIMEOUT if limit is None else parse_nonnegative_int("join-timeout", limit, 1)
    )
    if {"-h", "--help"} & set(args):
        return {"mode": "off"}, args
    return {
        "mode": "auto" if mode is None else mode,
        "coordinator": coordinator,
        **numbers,
        "timeout": timeout,
    }, args


def _config(args: list[str]) -> tuple[str, Config]:
    """The config that a command line asks for, and a name for it."""
    file, args = flags.path_option(args, "config")
    path, argument = flags.split_argument(file or "eight_gaussians.py")
    name = "_".join([Path(path).stem, *(re.sub(r"[^\w.-]", "_", text) for text in argument)])
    default = Path(__file__).parents[1] / "configs" / "eight_gaussians.py"
    base = flags.load(default if file is None else file)
    config = flags.parse(args, base, prog="train.py", about=_ABOUT)
    is_data = file is not None and Path(file).suffix == ".json"
    if is_data and not any(re.match("--dataset.data[-_]dir", word) for word in args):
        require_local_data(config, "--dataset.data-dir")
    return name, config


def report(args: list[str]) -> int:
    """Write WORKDIR/report.html: the run on one page, to open in a browser or to send.

    usage: python -m wgan_jax report WORKDIR

    Training keeps the same page up to date. It holds samples over time, the estimate with its
    bounds and floor, losses, the critic's health in words, the settings; it needs no network.
    """
    from wgan_jax.experiment.report.reporter import write_report

    print(write_report(workdir("report", args)))
    return 0


def reproduce(args: list[str]) -> int:
    """Compute a figure of the papers anew: a picture, and the numbers behind it.

    usage: python -m wgan_jax reproduce FIGURE [--out DIR] [--size SIZE] [--seeds N]
                                               [--data-dir DIR] [--note TEXT]

    --out DIR       where FIGURE.png and FIGURE.json go (figures)
    --size SIZE     quick, default or full
    --seeds N       how many runs a figure's means are over
    --data-dir DIR  where prepare wrote the data sets
    --note TEXT     kept in FIGURE.json: what its reader should know of this run
    """
    out, args = flags.path_option(args, "out")
    size, args = flags.option(args, "size")
    seeds, args = flags.option(args, "seeds")
    data_dir, args = flags.path_option(args, "data-dir")
    note, args = flags.option(args, "note")
    from wgan_jax import reproduce
    from wgan_jax.reproduce.figure import SIZES, Settings, report

    if len(args) != 1 or args[0].startswith("-"):
        raise UserError(f"reproduce takes one figure: {', '.join(reproduce.FIGURES)}")
    if size is not None and size not in SIZES:
        raise UserError(f"--size takes {', '.join(SIZES)}, got {size!r}")
    count = None if seeds is None else parse_nonnegative_int("seeds", seeds, 1)
    settings = Settings(size or "default", count, data_dir)
    folder = Path(out or "figures")
    result = reproduce.reproduce(args[0], folder, settings, note)
    print(report(result, settings))
    print(folder / f"{args[0]}.png")
    return 0


def prepare(args: list[str]) -> int:
    """Write a data set for training, without TensorFlow.

    usage: python -m wgan_jax prepare DATASET [--manual-dir DIR] [--data-dir DIR]

    DATASET           mnist, fashion_mnist or cifar10
    --manual-dir DIR  holds the official files, for a machine without a network
    --data-dir DIR    where it goes, if not TFDS's own folder
    """
    manual_dir, args = flags.path_option(args, "manual-dir")
    data_dir, args = flags.path_option(args, "data-dir")
    from wgan_jax.data.prepare import PREPARABLE
    from wgan_jax.data.prepare import prepare as prepare_dataset

    if len(args) != 1 or args[0].startswith("-"):
        raise UserError(f"prepare takes one data set: {', '.join(PREPARABLE)}")
    print(prepare_dataset(args[0], data_dir=data_dir, manual_dir=manual_dir))
    return 0
