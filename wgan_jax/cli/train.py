"""`python train.py`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from wgan_jax.cli import flags
from wgan_jax.cli.common import parse_nonnegative_int, require_local_data
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

With no arguments: the 8 Gaussians, no download, under a minute on two cores.
--config FILE    an example by name (digits, ring:wgan_gp), a file of your own (FILE.py, or
                 FILE.py:ARGUMENT), or the config.json of a workdir
--workdir DIR    where the run is kept; one that holds a checkpoint goes on from it;
                 gs://BUCKET/FOLDER is worked on in runs/ and copied there at each checkpoint
--dry-run        tell what the run would take in memory and time; train and write nothing
--devices N      share the batch among the first N devices of this host, not all
--sweep.seeds N  train N seeds as one program; --sweep sweep --help tells more

Several hosts, each with the same command:
--distributed auto|on|off    find the others on Cloud TPU, Slurm, Kubernetes or MPI (auto)
--coordinator HOST:PORT --process-count N --process-index I    anywhere else
--join-timeout SECONDS    how long to wait for the others (300)"""

# Configs of data that the default networks are not for.
_OWN_CONFIG = {"folder": "folder", "huggingface": "folder", "table": "table", "arrays": "table"}


def train(args: list[str]) -> int:
    """Train: exit status 0 done, 1 another host stopped responding, 2 bad input.

    143 is that of a run stopped by SIGTERM with everything saved; other signals give 128 and
    their number as well.
    """
    told, args = _topology(args)
    with shutdown.distributed_context(**told):
        return _train(args)


def _train(args: list[str]) -> int:
    given, args = flags.path_option(args, "workdir")
    devices, args = flags.option(args, "devices")
    dry, args = "--dry-run" in args, [word for word in args if word != "--dry-run"]
    name, config = processes.run_on_all(lambda: _config(args))
    if config.sweep is not None and devices is None:
        share_cores(len(members(config)))
    require_devices()
    processes.assert_same_on_all(
        to_dict(config), lambda ours, theirs: ", ".join(diff(ours, theirs))
    )
    count = None if devices is None else parse_nonnegative_int("devices", devices, 1)
    from wgan_jax.experiment import train as loop
    from wgan_jax.experiment.report.reporter import write_report
    from wgan_jax.experiment.sweep_run import SweepRun

    if config.sweep is not None and (processes.process_count() > 1 or is_remote(given or "")):
        raise UserError("a sweep trains on one host, in a folder of that host")
    if dry:
        from wgan_jax.experiment.dry_run import describe_run

        where = given or f"runs/{name}-{config_hash(config)}"
        try:
            print(processes.run_on_all(lambda: describe_run(config, where, count)))
        except ValueError as error:
            raise UserError(str(error)) from error
        return 0
    mirror = Mirror(given) if given is not None and is_remote(given) else None
    folder = Path(given) if given else Path("runs") / f"{name}-{config_hash(config)}"
    if mirror is not None:
        folder = mirror.folder
        processes.run_on_all(lambda: mirror.pull() if processes.is_primary() else None)
    pushed = mirror.push if mirror else lambda: None
    try:
        with catch_signals():
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
        processes.JOIN_TIMEOUT if limit is None else parse_nonnegative_int("join-timeout", limit, 1)
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
    kind, _ = flags.option(args, "dataset")
    source = (
        _OWN_CONFIG.get(str(kind).lower().replace("-", ""), "eight_gaussians")
        if file is None
        else file
    )
    path, argument = flags.split_argument(source)
    name = "_".join([Path(path).stem, *(re.sub(r"[^\w.-]", "_", text) for text in argument)])
    config = flags.parse(args, flags.load(source), prog="train.py", about=_ABOUT)
    is_data = file is not None and Path(file).suffix == ".json"
    location = f"--dataset.{config.dataset.location_field}".replace("_", "-")
    if is_data and not any(word.split("=")[0].replace("_", "-") == location for word in args):
        require_local_data(config, location)
    if is_data and flags.option(args, "log")[0] is None:
        _require_harmless_loggers(config)
    return name, fit_to_data(config)


def _require_harmless_loggers(config: Config) -> None:
    """Refuse to import what a config.json names, or log to a server, if nobody asked for it."""
    if named := [name for name in config.loggers if name not in HARMLESS]:
        raise UserError(
            f"the config logs to {', '.join(named)}, which is done only if you name it yourself: "
            f"add --log {','.join(config.loggers)} (or --log none)"
        )
