"""A population from its config to its table: many runs, one program, one workdir."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.data.stream import ImageStream
from wgan_jax.errors import UserError
from wgan_jax.experiment import population_report as report
from wgan_jax.experiment.build import build_gan, open_dataset, real_struct
from wgan_jax.experiment.checkpoint import Checkpoints
from wgan_jax.experiment.codec import to_dict
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.drawing import draw_samples
from wgan_jax.experiment.members import (
    chosen,
    init,
    like,
    member_state,
    replaced,
    settings,
    stacked,
)
from wgan_jax.experiment.report.reporter import Reporter
from wgan_jax.experiment.schedule import Piece, crosses, next_piece
from wgan_jax.experiment.signals import Stopped, collected
from wgan_jax.experiment.trainer import Run, steps_of
from wgan_jax.experiment.workdir import (
    MetricsLog,
    claim,
    locked,
    read_metrics,
    require_plain,
    write_json,
    write_lines,
)
from wgan_jax.experiment.writers import Console, TensorBoard
from wgan_jax.files import atomic_write
from wgan_jax.finite import skipped_of
from wgan_jax.population import each_member
from wgan_jax.types import Array, GANState, Metrics, PyTree

Values = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Runs:
    """All members: their states, every leaf led by [m], and their hyper-parameters [m]."""

    config: Config
    data: Any
    states: GANState
    hypers: dict[str, Array]

    @property
    def step(self) -> int:
        """Generator iterations of the members that are alive."""
        return int(np.max(self.states.step.generator))

    def __len__(self) -> int:
        return len(self.states.key)

    def state(self, k: int) -> GANState:
        return member_state(self.states, k)

    def member(self, k: int) -> Run:
        """Member `k` as the run that it would be alone."""
        solo = chosen(self.config, k)
        return Run(solo, build_gan(solo), self.data, self.state(k))


def open_runs(config: Config, workdir: Path, *, say: Callable[[str], None] = print) -> Runs:
    """The population in a workdir at its newest good checkpoint, or at its start.

    Raises:
      UserError: parts that do not go together, or checkpoints that are all bad.
    """
    keys, hypers = stacked(config)
    data = open_dataset(config)
    if isinstance(data, ImageStream):
        raise UserError("members share a data set on the device, which a stream is not")
    struct = real_struct(data, config.batch_size)
    found = Checkpoints(workdir / "checkpoints").restore(like(config, struct), say)
    if found is None:
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), struct)
        states = jax.jit(functools.partial(init, config))(keys, hypers, zeros)
        return Runs(config, data, states, hypers)
    return Runs(config, data, found[1], hypers)


def open_member(
    config: Config, workdir: Path, member: int, *, say: Callable[[str], None] = print
) -> Run:
    """One member of the population in a workdir.

    Raises:
      UserError: no such member.
    """
    chosen(config, member)
    return open_runs(config, workdir, say=say).member(member)


def train(
    config: Config,
    workdir: Path,
    *,
    devices: int | None = None,
    say: Callable[[str], None] = print,
) -> Runs:
    """Train all members until `config.steps`; goes on from a checkpoint if there is one.

    A member whose values are no longer finite stays where it last was finite, and
    the others go on. With `config.non_finite` skip it leaves out such steps and goes on.

    Args:
      config: the experiment, with a population.
      workdir: where it is kept.
      devices: how many of this host's share the members; all if not given.
      say: is told, a line each, what goes on.

    Raises:
      UserError: bad input, or no member is finite any more.
      Stopped: SIGTERM or SIGINT came, and everything is saved.
    """
    if jax.process_count() > 1:
        raise UserError("a population trains on one host: set --distributed off")
    with locked(workdir), collected() as received:
        claim(workdir, config)
        runs = open_runs(config, workdir, say=say)
        start = runs.step
        say(f"{workdir}: {len(runs)} members, generator iteration {start:,} of {config.steps:,}")
        session = _Session(runs, workdir, start, jax.devices()[:devices])
        try:
            runs = session.advance(received)
        finally:
            session.close()
        if runs.step > start:
            lines = read_metrics(workdir / "members.jsonl")
            with atomic_write(workdir / "curves.png") as file:
                report.curves(lines, config, file)
        return runs


def write_table(runs: Runs, workdir: Path) -> str:
    """Write members.json; the same as a table to read."""
    states = [runs.state(k) for k in range(len(runs))]
    rows = report.rows(runs.config, build_gan(runs.config), runs.data, states)
    write_json(workdir / "members.json", rows)
    return report.table(rows)


def write_member(run: Run, workdir: Path, k: int) -> Path:
    """One member as a workdir of its own in `members`, but for checkpoints."""
    folder, step = workdir / "members" / str(k), int(run.state.step)
    require_plain(folder)
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", to_dict(run.config))
    lines = [
        {name: values[k] if isinstance(values, list) else values for name, values in line.items()}
        for line in read_metrics(workdir / "members.jsonl")
    ]
    lines = [line for line in lines if None not in line.values()]
    write_lines(folder / "metrics.jsonl", lines)
    with atomic_write(folder / "samples" / f"{step}.png") as file:
        draw_samples(run, run.state, step, file)
    return folder


class _Session:
    """One process's share of a population: as that of a run, over all members at once."""

    def __init__(self, runs: Runs, workdir: Path, start: int, devices: list[jax.Device]):
        config = runs.config
        self._runs, self._config, self._workdir, self._start = runs, config, workdir, start
        self._gan, self._devices = build_gan(config), devices
        self._checkpoints = Checkpoints(workdir / "checkpoints", config.keep_checkpoints)
        self._checkpoints.require_room(runs.states)
        self._log = MetricsLog(workdir / "metrics.jsonl", start)
        self._members_log = MetricsLog(workdir / "members.jsonl", start)
        self._console = Console(start, config.steps)
        self._board = TensorBoard(workdir, start) if config.tensorboard else None
        self._lost = np.asarray(runs.states.step.generator) < start
        self._report = Reporter(workdir, say=self._console.say)

    def advance(self, received: list[int]) -> Runs:
        config, runs, step = self._config, self._runs, self._start
        while step < config.steps:
            piece, began = next_piece(config, step), time.perf_counter()
            states, metrics, alive = self._program(piece)(
                runs.states, runs.hypers, (runs.data, np.int32(step))
            )
            runs, metrics = dataclasses.replace(runs, states=states), jax.device_get(metrics)
            self._tell_lost(~np.asarray(alive), step)
            before, step = step, step + piece.length
            speed = piece.length / (time.perf_counter() - began)
            self._write(metrics, before, speed, self._evaluate(runs, before, step))
            last = step == config.steps or bool(received)
            if last or crosses(config.sample_every, before, step):
                self._draw(runs, step)
            if last or crosses(config.checkpoint_every, before, step):
                self._checkpoints.save(step, states)
            self._report.update(last=last)
            if received:
                raise Stopped(received[0], step)
        return runs

    def close(self) -> None:
        self._console.close()
        self._log.close()
        self._members_log.close()
        if self._board is not None:
            self._board.close()

    @functools.cache  # noqa: B019  lives as long as the session, which is the process
    def _program(self, piece: Piece) -> Callable[..., tuple[GANState, Metrics, Array]]:
        advance = functools.partial(_advance, self._config, piece, self._devices)
        return jax.jit(advance, donate_argnums=0)

    def _tell_lost(self, lost: np.ndarray, step: int) -> None:
        for k in np.flatnonzero(lost & ~self._lost):
            apart = ", ".join(f"{n} {v}" for n, v in settings(self._config)[k].items())
            self._console.say(
                f"step {step:,}: member {k} ({apart}) is no longer finite; it stays at step "
                f"{step:,} and the others go on"
            )
        self._lost = lost
        if lost.all():
            raise UserError(
                f"no member is finite after step {step}: training stops; lower the learning rates"
            )

    def _evaluate(self, runs: Runs, before: int, step: int) -> Values:
        every = self._config.evaluate_every
        if every == 0 or not crosses(every, before, step):
            return {}
        states = [runs.state(k) for k in range(len(runs))]
        return report.evaluation(self._config, self._gan, runs.data, states)

    def _draw(self, runs: Runs, step: int) -> None:
        states = [runs.state(k) for k in range(min(len(runs), report.SHOWN))]
        path = self._workdir / "samples" / f"{step}.png"
        with atomic_write(path) as file:
            report.samples(self._config, self._gan, runs.data, states, step, file)
        if self._board is not None:
            self._board.picture(path, step)

    def _write(self, metrics: Values, before: int, speed: float, found: Values) -> None:
        """A line of means and standard deviations over members, and one of all values."""
        length = metrics["critic/loss"].shape[1]
        estimate = float(np.nanmean(metrics["critic/estimate"][:, -1]))
        self._console.update(length, {"critic/estimate": estimate})
        for i in range(length):
            step, extra = before + i + 1, found if i == length - 1 else {}
            if step % self._config.log_every and step != self._config.steps and not extra:
                continue
            values: Values = {name: v[:, i] for name, v in sorted(metrics.items())} | extra
            self._members_log.write({"step": step} | {n: _plain(v) for n, v in values.items()})
            line: dict[str, Any] = {"step": step, "members": int((~self._lost).sum())}
            for name, v in values.items():
                line |= {name: float(np.nanmean(v)), f"{name}/std": float(np.nanstd(v))}
            line |= {"time/steps_per_second": round(speed, 3)}
            self._log.write(line)
            if self._board is not None:
                self._board.write(line)


def _advance(
    config: Config,
    piece: Piece,
    devices: list[jax.Device],
    states: GANState,
    hypers: PyTree,
    shared: tuple[Any, Array],
) -> tuple[GANState, Metrics, Array]:
    """A piece for each member that keeps up; those that are behind or lost in it stay put."""

    def one(member: tuple[GANState, PyTree], shared: tuple[Any, Array]) -> Any:
        (state, values), (data, step) = member, shared
        solo = replaced(config, values)
        moved, metrics = steps_of(solo, build_gan(solo), piece)(state, data)
        alive = (state.step.generator == step) & _all_finite(moved)
        if config.non_finite == "stop":
            skipped = [skipped_of(p.opt_state) for s in (state, moved) for p in s[2:]]
            alive &= _all_finite(metrics) & (skipped[0] == skipped[2]) & (skipped[1] == skipped[3])
        no_key: Any = None  # it never changes
        new, old = moved._replace(key=no_key), state._replace(key=no_key)
        kept = jax.tree.map(lambda new, old: jnp.where(alive, new, old), new, old)
        metrics = {n: jnp.where(alive, m.astype(jnp.float32), jnp.nan) for n, m in metrics.items()}
        return kept._replace(key=state.key), metrics, alive

    return each_member(one, (states, hypers), shared, devices)


def _all_finite(tree: PyTree) -> Array:
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(x).all() for x in floats]).all()


def _plain(values: np.ndarray) -> list[float | None]:
    return [float(v) if np.isfinite(v) else None for v in values]
