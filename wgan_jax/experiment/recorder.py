"""What a run leaves behind: numbers, pictures, checkpoints, its report, lines on the screen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from wgan_jax.experiment import pictures
from wgan_jax.experiment.checkpoint import Checkpoints
from wgan_jax.experiment.drawing import draw_data, draw_samples
from wgan_jax.experiment.monitor import Monitor, warnings
from wgan_jax.experiment.report.reporter import Reporter
from wgan_jax.experiment.workdir import MetricsLog, read_metrics
from wgan_jax.experiment.writers import Console, TensorBoard
from wgan_jax.files import atomic_write
from wgan_jax.types import GANState

if TYPE_CHECKING:
    from wgan_jax.experiment.trainer import Run


class Recorder:
    """Writes a run's workdir, on the one host that does."""

    def __init__(self, run: Run, workdir: Path, saved: Callable[[], None] | None):
        start = int(run.state.step)
        self._run, self._config, self._workdir, self._saved = run, run.config, workdir, saved
        self._checkpoints = Checkpoints(workdir / "checkpoints", run.config.keep_checkpoints)
        self._checkpoints.require_room(run.state)
        self._log = MetricsLog(workdir / "metrics.jsonl", start)
        self._console = Console(start, run.config.steps)
        self._board = TensorBoard(workdir, start) if run.config.tensorboard else None
        self._monitor = Monitor(run.config, run.gan, run.data)
        self._warned: set[str] = set()
        self._report = Reporter(workdir, say=self._console.say)

    def say(self, line: str) -> None:
        self._console.say(line)

    def draw_data(self) -> None:
        draw_data(self._run, self._workdir / "samples" / "data.png")

    def evaluate(self, state: GANState, step: int) -> dict[str, float]:
        """What the monitor finds; each of its warnings is said once a run."""
        found = self._monitor(state)
        for topic, warning in warnings(found).items():
            if topic not in self._warned:
                self.say(f"step {step:,}: {warning}")
            self._warned.add(topic)
        return found

    def metrics(
        self,
        metrics: dict[str, np.ndarray],
        before: int,
        found: dict[str, float],
        times: Callable[[], dict[str, float]],
    ) -> None:
        """Log the steps of a piece that are due; what an evaluation found goes with the last.

        `times` is asked once, and only where a line is due: it tells of the time since then.
        """
        length = len(next(iter(metrics.values())))
        self._console.update(length, {name: values[-1] for name, values in metrics.items()})
        extra: list[dict[str, float]] = [{}] * (length - 1) + [found]
        due = [i for i in range(length) if self._is_due(before + i + 1) or extra[i]]
        told = times() if due else {}
        for i in due:
            line = {name: float(values[i]) for name, values in sorted(metrics.items())}
            line = {"step": before + i + 1, **line, **extra[i], **told}
            self._log.write(line)
            if self._board is not None:
                self._board.write(line)

    def _is_due(self, step: int) -> bool:
        return step % self._config.log_every == 0 or step == self._config.steps

    def draw(self, state: GANState, step: int) -> None:
        path = self._workdir / "samples" / f"{step}.png"
        with atomic_write(path) as file:
            draw_samples(self._run, state, step, file)
        if self._board is not None:
            self._board.picture(path, step)

    def save(self, state: GANState, step: int) -> None:
        self._checkpoints.save(step, state)
        if self._saved is not None:
            self._saved()

    def report(self, *, last: bool) -> None:
        self._report.update(last=last)

    def draw_curves(self) -> None:
        lines = read_metrics(self._workdir / "metrics.jsonl")
        with atomic_write(self._workdir / "curves.png") as file:
            pictures.curves(lines, self._config.objective.estimates, file)

    def close(self) -> None:
        self._console.close()
        self._log.close()
        if self._board is not None:
            self._board.close()


class Bystander:
    """In the recorder's place on the other hosts: leaves nothing."""

    def say(self, line: str) -> None: ...

    def draw_data(self) -> None: ...

    def evaluate(self, state: GANState, step: int) -> dict[str, float]:
        return {}

    def metrics(self, *piece: object) -> None: ...

    def draw(self, state: GANState, step: int) -> None: ...

    def save(self, state: GANState, step: int) -> None: ...

    def report(self, *, last: bool) -> None: ...

    def draw_curves(self) -> None: ...

    def close(self) -> None: ...
