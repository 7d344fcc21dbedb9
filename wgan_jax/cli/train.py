"""`python train.py`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import jax

from wgan_jax.cli import flags
from wgan_jax.cli.common import int_option, require_local_data
from wgan_jax.data.remote import is_remote
from wgan_jax.errors import UserError
from wgan_jax.experiment.build import fit_to_data
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.config_io import config_hash, diff, to_dict
from wgan_jax.experiment.distributed import processes, shutdown
from wgan_jax.experiment.distributed.placement import require_devices, share_cores
from wgan_jax.experiment.distributed.signals import Stopped, catch_signals
from wgan_jax.experiment.loggers.logger import HARMLESS
from wgan_jax.experiment.mirror import Mirror
from wgan_jax.experiment.sweep import members

_ABOUT = """Train a Wasserstein GAN.

Without arguments: the ring of 8 Gaussians, no download, about a minute on two cores.
--config FILE    an example by name (digits, ring:wgan_gp), your own Python file (FILE.py, or
                 FILE.py:ARGUMENT), or the config.json of a workdir
--workdir DIR    folder of the run; if it holds a checkpoint, the run resumes from it;
                 gs://BUCKET/FOLDER: train in runs/ and upload at each checkpoint
--dry-run        report the memory and time that the run would take; train and write nothing
--devices N      split the batch over the first N devices of this host instead of all
--sweep.seeds N  train N seeds as one program; see also --sweep sweep --help

Several hosts, each with the same command:
--distributed auto|on|off    find the others on Cloud TPU, Slurm, Kubernetes or MPI (auto)
--coordinator HOST:PORT --process-count N --process-index I    anywhere else
--join-timeout SECONDS    how long to wait for the others (300)"""

# Configs for data sets that the default networks do not fit.
_OWN_CONFIG = {"folder": "folder", "huggingface": "folder", "table": "table", "arrays": "table"}


def train(args: list[str]) -> int:
    """Train; exit status 0: done, 1: another host stopped responding, 2: bad input.

    A run that is stopped by a signal saves everything and exits with 128 plus the signal's
    number: 143 for SIGTERM.
    """
    topology, args = _topology(args)
    with shutdown.distributed_context(**topology):
        return _train(args)


def _train(args: list[str]) -> int:
    workdir, args = flags.path_option(args, "workdir")
    devices, args = int_option(args, "devices", 1)
    dry, args = flags.switch(args, "dry-run")
    name, config = processes.run_on_all(lambda: _config(args))
    if config.sweep is not None and devices is None:
        share_cores(len(members(config)))
    require_devices()
    processes.assert_same_on_all(
        to_dict(config), lambda ours, theirs: ", ".join(diff(ours, theirs))
    )
    from wgan_jax.experiment import train as loop
    from wgan_jax.experiment.report.reporter import write_report
    from wgan_jax.experiment.sweep_run import SweepRun

    where = workdir or f"runs/{name}-{config_hash(config)}"
    if config.sweep is not None and (jax.process_count() > 1 or is_remote(where)):
        raise UserError("a sweep trains on one host, in a local folder")
    if dry:
        from wgan_jax.experiment.dry_run import describe_run

        try:
            print(processes.run_on_all(lambda: describe_run(config, where, devices)))
        except ValueError as error:
            raise UserError(str(error)) from error
        return 0
    mirror = Mirror(where) if is_remote(where) else None
    folder = mirror.folder if mirror else Path(where)
    if mirror is not None:
        processes.run_on_primary(mirror.pull)
    push = mirror.push if mirror else lambda: None
    try:
        with catch_signals():
            try:
                run = loop.train(config, folder, devices=devices, on_save=push)
            except Stopped as stop:
                print(stop, file=sys.stderr, flush=True)
                return stop.exit_status
        if isinstance(run, SweepRun):
            print(run.write_table(folder))
            print(f"report  {write_report(folder)}")
            return 0
    except (ValueError, OSError) as error:
        if shutdown.is_peer_failure(error):
            raise
        raise UserError(str(error)) from error
    if processes.is_primary():
        from wgan_jax.cli.evaluate import summarize_run

        summarize_run(run, folder)
        if mirror is not None:
            mirror.push()
    return 0


def _topology(args: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Parse the flags that say which hosts train together; --help ignores them."""
    mode, args = flags.option(args, "distributed")
    coordinator, args = flags.option(args, "coordinator")
    numbers = {}
    for name in ("process-count", "process-index"):
        numbers[name.replace("-", "_")], args = int_option(args, name)
    timeout, args = int_option(args, "join-timeout", 1)
    if {"-h", "--help"} & set(args):
        return {"mode": "off"}, args
    return {
        "mode": "auto" if mode is None else mode,
        "coordinator": coordinator,
        **numbers,
        "timeout": timeout or processes.JOIN_TIMEOUT,
    }, args


def _config(args: list[str]) -> tuple[str, Config]:
    """Return a name for the config of a command line, and the config."""
    file, args = flags.path_option(args, "config")
    kind, _ = flags.option(args, "dataset")
    source = file or _OWN_CONFIG.get(flags.plain(str(kind)), "eight_gaussians")
    path, argument = flags.split_argument(source)
    name = "_".join([Path(path).stem, *(re.sub(r"[^\w.-]", "_", text) for text in argument)])
    program = "train.py" if Path(sys.argv[0]).name == "train.py" else "wgan-jax train"
    config = flags.parse(args, flags.load(source), prog=program, about=_ABOUT)
    is_data = file is not None and Path(file).suffix == ".json"
    location = f"--dataset.{config.dataset.location_field}".replace("_", "-")
    if is_data and not any(word.split("=")[0].replace("_", "-") == location for word in args):
        require_local_data(config, location)
    if is_data and flags.option(args, "log")[0] is None:
        _require_harmless_loggers(config)
    return name, fit_to_data(config)


def _require_harmless_loggers(config: Config) -> None:
    """Refuse loggers that import modules or contact servers if only a config.json names them."""
    if named := [name for name in config.loggers if name not in HARMLESS]:
        raise UserError(
            f"the config logs to {', '.join(named)}, which is done only if you name it yourself: "
            f"add --log {','.join(config.loggers)} (or --log none)"
        )
