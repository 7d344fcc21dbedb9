"""The training loop for runs and sweeps."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import jax

from wgan_jax.data.labels import describe_counts
from wgan_jax.errors import UserError
from wgan_jax.experiment.build import constraint_warning
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.chunks import crossed_multiple, next_chunk
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.data_identity import check_data
from wgan_jax.experiment.distributed import processes
from wgan_jax.experiment.distributed.placement import make_sharding
from wgan_jax.experiment.distributed.signals import Stopped, catch_signals, obey_at_once
from wgan_jax.experiment.loggers.run_loggers import find_loggers
from wgan_jax.experiment.prefetch import prefetch
from wgan_jax.experiment.run import Run, open_run
from wgan_jax.experiment.schema import save_schema
from wgan_jax.experiment.sweep_run import SweepRun, open_sweep
from wgan_jax.experiment.workdir import lock_workdir, reserve_workdir, save_class_counts
from wgan_jax.experiment.writers import NoopWriter, RunWriter, open_writer
from wgan_jax.types import GANState

logger = logging.getLogger(__name__)


def train(
    config: Config,
    workdir: Path,
    *,
    devices: int | None = None,
    on_save: Callable[[], None] = lambda: None,
) -> Run | SweepRun:
    """Trains until `config.steps`, or until W1 reaches its plateau if the config says so.

    Resumes from the newest good checkpoint in the workdir.

    Args:
      config: the experiment; if `config.sweep` is set, a sweep of runs in one program.
      workdir: folder of the run's outputs.
      devices: number of this host's devices to use; all if None.
      on_save: called on the primary process after each checkpoint.

    Returns:
      The finished run or sweep.

    Raises:
      UserError: invalid input, a logger that cannot be imported, or non-finite values (they are
        never saved).
      Stopped: a signal arrived; everything is saved.
    """
    sharding = make_sharding(config, devices)
    processes.run_on_primary(lambda: find_loggers(config))
    with _owned_workdir(workdir, config), catch_signals() as signals:
        # While opening, hosts wait for each other, so none of them may exit early.
        with obey_at_once() if jax.process_count() == 1 else contextlib.nullcontext():
            run = open_run(config, workdir) if config.sweep is None else open_sweep(config, workdir)
        step = run.step
        check_data(run.data, workdir, step)
        if config.stop_when == "plateau" and isinstance(run, Run) and run.held_out is None:
            raise UserError("stop_when plateau needs W1 on held-out data; these data hold none out")
        program, guard = run.compile(sharding), run.non_finite_guard()
        checkpoints = Checkpoints(workdir / "checkpoints", config.keep_checkpoints)
        with (
            open_writer(run, workdir) as writer,
            prefetch(config, run.data, run.state, sharding) as batches,
        ):
            if processes.is_primary():
                logger.info("%s: %s", workdir, run.describe())
                layout = f"{config.batch_size:,} a batch on {sharding.describe()}"
                logger.info("%s; %s", run.describe_sizes(), layout)
                if counts := run.config.class_counts:
                    logger.info("labels: %s", describe_counts(counts))
                if warning := constraint_warning(config):
                    logger.warning("warning: %s", warning)
                save_class_counts(workdir, run.config)
                save_schema(run.data, config.dataset.condition_rows(), workdir, step)
                checkpoints.check_disk_space(run.state)
            writer.write_data()
            state = sharding.state(run.state)
            if (stop := _signal(signals)) and step < config.steps:
                raise Stopped(stop, step)
            done = step >= config.steps or _has_settled(config, writer)
            if step > 0:
                writer.write_missing_samples(sharding.gather(state), step, done=done)
            # The order matters. Signals are read once per chunk, so that the step named on exit is
            # the saved one. Saving precedes drawing because preemption notices may be short.
            # All processes gather the state, in the same order; one of them writes it.
            while not done:
                chunk, began = next_chunk(config, step), time.perf_counter()
                state, metrics = program(chunk)(state, batches.take())
                metrics = jax.device_get(metrics)  # the only host sync of a chunk
                speed = chunk.length / (time.perf_counter() - began)
                guard(metrics, step)
                before, step = step, step + chunk.length
                due = partial(crossed_multiple, before=before, after=step)

                evaluation = {}
                if due(config.evaluate_every):
                    evaluation = writer.evaluate(sharding.gather(state), step)
                writer.write_chunk(metrics, before, evaluation, speed, batches.wait_fraction)
                writer.tell_time_left(chunk, step, speed)

                stop = _signal(signals)
                done = step >= config.steps or _has_settled(config, writer)
                if stop or done or due(config.checkpoint_every):
                    gathered = sharding.gather(state)
                    writer.sync()
                    processes.run_on_primary(partial(_save, checkpoints, step, gathered, on_save))
                if done or (due(config.sample_every) and not stop):
                    writer.write_samples(sharding.gather(state), step)
                writer.update_report(last=bool(stop) or done)
                if stop:
                    raise Stopped(stop, step)
            if step > 0:
                writer.write_curves()
            run = run.at(sharding.gather(state))
        if signals:
            raise Stopped(signals[0], step)
        return run


@contextlib.contextmanager
def _owned_workdir(workdir: Path, config: Config) -> Iterator[None]:
    """Locks the workdir and writes the config, on the primary process."""
    with contextlib.ExitStack() as stack:

        def reserve() -> None:
            stack.enter_context(lock_workdir(workdir))
            reserve_workdir(workdir, config)

        processes.run_on_primary(reserve)
        yield


def _signal(signals: list[int]) -> int:
    """Returns a signal that some process has received, or 0."""
    return processes.all_reduce_max(signals[0] if signals else 0)


def _has_settled(config: Config, writer: RunWriter | NoopWriter) -> bool:
    """Returns whether the run ends because W1 reached its plateau; the primary process decides."""
    if config.stop_when != "plateau":
        return False
    return bool(processes.all_reduce_max(int(writer.has_settled)))


def _save(
    checkpoints: Checkpoints, step: int, state: GANState, on_save: Callable[[], None]
) -> None:
    checkpoints.save(step, state)
    on_save()
