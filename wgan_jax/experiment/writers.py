"""Writers of a run's metrics, images, report and console output."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from wgan_jax.experiment.chunks import ChunkShape, crossed_multiple, duration
from wgan_jax.experiment.distributed import processes
from wgan_jax.experiment.evaluation.plateau import is_plateau
from wgan_jax.experiment.evaluation.summary import certified
from wgan_jax.experiment.loggers.run_loggers import RunLoggers
from wgan_jax.experiment.metrics_log import MetricsLog, iter_metrics, read_metrics
from wgan_jax.experiment.report.reporter import Reporter
from wgan_jax.experiment.run import Run
from wgan_jax.experiment.sweep_run import SweepRun
from wgan_jax.files import atomic_write
from wgan_jax.types import GANState

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN_LINES, _CURVE_POINTS = 10.0, 5_000


@contextlib.contextmanager
def open_writer(run: Run | SweepRun, workdir: Path) -> Iterator[RunWriter | NoopWriter]:
    """Opens the writer of a run; a no-op on all processes except the primary one."""
    if not processes.is_primary():
        yield NoopWriter()
        return
    with contextlib.closing(RunWriter(run, workdir)) as writer:
        yield writer


class RunWriter:
    """Writes the files of a workdir, except the config and checkpoints."""

    def __init__(self, run: Run | SweepRun, workdir: Path):
        self._run, self._config, self._workdir = run, run.config, workdir
        self._loggers = RunLoggers(run, workdir)
        self._logs = {name: MetricsLog(workdir / name, run.step) for name in run.logs}
        self._console = Console(run.step, run.config.steps)
        self._report = Reporter(workdir)
        self._warned: set[str] = set()
        self._compiled: ChunkShape | None = None
        self._time_left_logged = False
        self._evaluated: dict[str, float] = {}
        self._w1: list[float] = []
        if run.config.stop_when == "plateau":
            former = iter_metrics(workdir / "metrics.jsonl")
            self._w1 = [line["w1/value"] for line in former if "w1/value" in line]

    @property
    def has_settled(self) -> bool:
        """Whether W1 has reached its plateau; False unless the run ends there."""
        return is_plateau(self._w1)

    def write_data(self) -> None:
        path = self._workdir / "samples" / "data.png"
        self._run.draw_data(path)
        if path.exists():
            self._loggers.write_picture(self._run.step, "data", path)

    def evaluate(self, state: GANState, step: int) -> dict[str, Any]:
        """Evaluates the run; logs each kind of warning once."""
        began = time.perf_counter()
        evaluation = self._run.evaluate(state)
        self._console.tell_w1(step, evaluation)
        if "w1/value" in evaluation:
            self._w1.append(evaluation["w1/value"])
        for topic, warning in self._run.warnings(evaluation).items():
            if topic not in self._warned:
                logger.warning("step %s: %s", f"{step:,}", warning)
                self._loggers.write_warning(step, topic, warning)
            self._warned.add(topic)
        self._evaluated = {"time/evaluation": round(time.perf_counter() - began, 3)}
        return evaluation

    def write_chunk(
        self,
        metrics: dict[str, np.ndarray],
        before: int,
        evaluation: dict[str, Any],
        speed: float,
        wait_fraction: Callable[[], dict[str, float]],
    ) -> None:
        """Writes the iterations of a chunk that are due, and the evaluation with the last one.

        Args:
          metrics: [length], or [m, length] for a sweep.
          before: step at which the chunk started.
          evaluation: evaluation of the state after the chunk; empty if there was none.
          speed: generator iterations per second.
          wait_fraction: called at most once per chunk because it resets its timer.
        """
        length = next(iter(metrics.values())).shape[-1]
        estimate = float(np.nanmean(metrics["critic/estimate"][..., -1]))
        self._console.update(length, estimate)
        extra: list[dict[str, Any]] = [{}] * (length - 1) + [evaluation]
        due = [i for i in range(length) if self._is_due(before + i + 1) or extra[i]]
        timed = {"time/steps_per_second": round(speed, 3)} | (wait_fraction() if due else {})
        for i in due:
            lines = self._run.log_lines(metrics, i, extra[i])
            lines["metrics.jsonl"] |= timed | (self._evaluated if extra[i] else {})
            for name, line in lines.items():
                self._logs[name].write({"step": before + i + 1} | line)
            self._loggers.write_lines(before + i + 1, lines)

    def tell_time_left(self, chunk: ChunkShape, step: int, speed: float) -> None:
        """Logs the remaining time once, from the second chunk of a shape; the first one compiles.

        Args:
          chunk: shape of the last chunk; warm-up chunks are ignored, as their speed differs.
          step: step after the chunk.
          speed: generator iterations per second.
        """
        seconds, usual = (self._config.steps - step) / speed, self._config.n_critic
        if self._compiled == chunk and chunk.n_critic == usual and not self._time_left_logged:
            self._time_left_logged = True
            if seconds >= _SECONDS_BETWEEN_LINES:
                logger.info("about %s of training left", duration(seconds))
        self._compiled = chunk

    def _is_due(self, step: int) -> bool:
        return step % self._config.log_every == 0 or step == self._config.steps

    def write_samples(self, state: GANState, step: int) -> None:
        path = self._workdir / "samples" / f"{step}.png"
        with atomic_write(path) as file:
            self._run.draw_samples(state, step, file)
        self._loggers.write_picture(step, "samples", path)

    def write_missing_samples(self, state: GANState, step: int, *, done: bool) -> None:
        """Draws the samples of a saved step if the run was stopped before it drew them."""
        names = [path.stem for path in (self._workdir / "samples").glob("*.png")]
        drawn = [int(name) for name in names if name.isascii() and name.isdigit()]
        newest = max((number for number in drawn if number <= step), default=0)
        every = self._config.sample_every
        if (done and newest < step) or crossed_multiple(every, before=newest, after=step):
            self.write_samples(state, step)

    def write_curves(self) -> None:
        lines = read_metrics(self._workdir / self._run.logs[-1], _CURVE_POINTS)
        with atomic_write(self._workdir / "curves.png") as file:
            self._run.draw_curves(lines, file)

    def update_report(self, *, last: bool) -> None:
        self._report.update(last=last)

    def sync(self) -> None:
        """Waits until all lines are on disk, so that no checkpoint is newer than the logs."""
        for log in self._logs.values():
            log.sync()

    def close(self) -> None:
        self._console.close()
        for log in self._logs.values():
            log.close()
        self._loggers.close()


class NoopWriter:
    """A `RunWriter` for processes other than the primary one; writes nothing."""

    has_settled = False

    def write_data(self) -> None: ...

    def evaluate(self, state: GANState, step: int) -> dict[str, Any]:
        return {}

    def write_chunk(self, *args: object) -> None: ...

    def tell_time_left(self, *args: object) -> None: ...

    def write_samples(self, state: GANState, step: int) -> None: ...

    def write_missing_samples(self, state: GANState, step: int, *, done: bool) -> None: ...

    def write_curves(self) -> None: ...

    def sync(self) -> None: ...

    def update_report(self, *, last: bool) -> None: ...


class Console:
    """A progress bar on a terminal; otherwise occasional lines of text."""

    def __init__(self, step: int, steps: int):
        from tqdm import tqdm

        self._step, self._steps, self._printed = step, steps, time.monotonic()
        self._bar = None
        if sys.stderr.isatty():
            self._bar = tqdm(initial=step, total=steps, unit="it", dynamic_ncols=True)

    def update(self, iterations: int, estimate: float) -> None:
        self._step += iterations
        if self._bar is not None:
            self._bar.set_postfix(estimate=f"{estimate:.4f}")
            self._bar.update(iterations)
        elif time.monotonic() - self._printed > _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            print(f"step {self._step:,} of {self._steps:,}  estimate {estimate:.4f}", flush=True)

    def tell_w1(self, step: int, evaluation: dict[str, Any]) -> None:
        """Prints the estimate of W1 with its bounds, if the evaluation has one."""
        if "w1/value" not in evaluation:
            return
        line = f"step {step:,} of {self._steps:,}  W1 {certified(evaluation)}"
        if self._bar is None:
            print(line, flush=True)
        else:
            self._bar.write(line)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
