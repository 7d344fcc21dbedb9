"""A sweep: runs over seeds and hyperparameters that train together in one program."""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.data.dataset import Dataset
from wgan_jax.errors import UserError
from wgan_jax.experiment import sweep_report as report
from wgan_jax.experiment.build import build_gan, open_dataset, with_class_counts
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.chunks import ChunkShape, chunk_steps
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.distributed.placement import ShardingStrategy
from wgan_jax.experiment.evaluation.summary import members_table
from wgan_jax.experiment.metrics_log import iter_metrics
from wgan_jax.experiment.run import Program, Run
from wgan_jax.experiment.schema import saved_schema
from wgan_jax.experiment.sweep import (
    abstract_state,
    init,
    member_config,
    member_state,
    stack_members,
    varied_hyperparameters,
    with_values,
)
from wgan_jax.experiment.workdir import (
    require_plain,
    saved_class_counts,
    write_config,
    write_json,
    write_lines,
)
from wgan_jax.files import atomic_write
from wgan_jax.gan import GAN
from wgan_jax.population import each_member
from wgan_jax.transforms.finite import num_skipped
from wgan_jax.types import Array, GANState, Metrics, PyTree

logger = logging.getLogger(__name__)

_ALIVE = "member/alive"


@dataclasses.dataclass(frozen=True)
class SweepRun:
    """All members of a sweep at a given step.

    Attributes:
      state: states of the members; every leaf has a leading axis [m].
      hypers: varied hyperparameters, each [m].
    """

    config: Config
    data: Dataset
    state: GANState
    hypers: dict[str, Array]

    logs = ("metrics.jsonl", "members.jsonl")

    def __len__(self) -> int:
        return len(self.state.key)

    @property
    def step(self) -> int:
        """Number of completed generator iterations of the members that are alive."""
        return int(np.max(self.state.step.generator))

    @functools.cached_property
    def gan(self) -> GAN:
        return build_gan(self.config)

    def at(self, state: GANState) -> SweepRun:
        """Returns the sweep with other states."""
        return dataclasses.replace(self, state=state)

    def member(self, k: int) -> Run:
        """Returns member `k` as an individual run."""
        config = member_config(self.config, k)
        return Run(config, build_gan(config), self.data, member_state(self.state, k))

    def describe(self) -> str:
        return f"{len(self)} members, generator iteration {self.step:,} of {self.config.steps:,}"

    def describe_sizes(self) -> str:
        """Describes the size of the data set and the numbers of parameters of one member."""
        state = jax.eval_shape(lambda state: member_state(state, 0), self.state)
        return Run(self.config, self.gan, self.data, state).describe_sizes()

    def compile(self, sharding: ShardingStrategy) -> Callable[[ChunkShape], Program]:
        """Returns a function that maps a chunk shape to its compiled program."""

        @functools.cache
        def program(chunk: ChunkShape) -> Program:
            advance = functools.partial(_advance, self.config, chunk, sharding.devices)
            compiled = jax.jit(advance, donate_argnums=0)
            return lambda state, data: compiled(state, self.hypers, data)

        return program

    def non_finite_guard(self) -> LostMembers:
        return LostMembers(self)

    def evaluate(self, state: GANState) -> dict[str, Any]:
        """Evaluates the samples of each member; values have shape [m]."""
        return report.evaluation(self.config, self.gan, self.data, self._states(state))

    def warnings(self, evaluation: dict[str, Any]) -> dict[str, str]:
        return {}

    def log_lines(
        self, metrics: dict[str, np.ndarray], i: int, evaluation: dict[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """Returns iteration `i` of a chunk: mean and std over members, and all their values."""
        values = {name: v[:, i] for name, v in sorted(metrics.items()) if name != _ALIVE}
        values |= evaluation
        means: dict[str, Any] = {"members": int(metrics[_ALIVE][:, i].sum())}
        for name, v in values.items():
            means |= {name: float(np.nanmean(v)), f"{name}/std": float(np.nanstd(v))}
        each = {
            name: [float(x) if np.isfinite(x) else None for x in v] for name, v in values.items()
        }
        return {"metrics.jsonl": means, "members.jsonl": each}

    def draw_data(self, path: Path) -> None:
        """Draws nothing: the pictures of samples show the data if there is room."""

    def draw_samples(self, state: GANState, step: int, file: BinaryIO) -> None:
        """Writes a picture of the first members' samples side by side."""
        states = self._states(state)[: report.SHOWN]
        report.samples(self.config, self.gan, self.data, states, step, file)

    def draw_curves(self, lines: list[dict[str, Any]], file: BinaryIO) -> None:
        report.curves(lines, self.config, file)

    def write_table(self, workdir: Path) -> str:
        """Writes members.json; returns the same data as a formatted table."""
        rows = report.rows(self.config, self.gan, self.data, self._states(self.state))
        write_json(workdir / "members.json", rows)
        return members_table(rows)

    def _states(self, state: GANState) -> list[GANState]:
        return [member_state(state, k) for k in range(len(self))]


class LostMembers:
    """Reports members with non-finite values; raises when no member is left."""

    def __init__(self, sweep: SweepRun):
        self._settings = varied_hyperparameters(sweep.config)
        self._lost = np.asarray(sweep.state.step.generator) < sweep.step

    def __call__(self, metrics: dict[str, np.ndarray], before: int) -> None:
        lost = ~np.asarray(metrics[_ALIVE][:, -1], bool)
        for k in np.flatnonzero(lost & ~self._lost):
            varied = ", ".join(f"{name} {value}" for name, value in self._settings[k].items())
            logger.warning(
                f"step {before:,}: member {k} ({varied}) is no longer finite; it stays at step "
                f"{before:,} and the others continue"
            )
        self._lost = lost
        if lost.all():
            raise UserError(
                f"no member is finite after step {before}: training stops; lower the learning rates"
            )


def open_sweep(config: Config, workdir: Path) -> SweepRun:
    """Opens the sweep in a workdir at its newest good checkpoint, or at step 0.

    Raises:
      UserError: several processes, parts that do not fit together, or checkpoints none of
        which is good.
    """
    if jax.process_count() > 1:
        raise UserError("a sweep trains on one host: set --distributed off")
    keys, hypers = stack_members(config)
    data = open_dataset(config, saved_schema(workdir))
    if data.is_stream:
        raise UserError("members share a data set on the device, so a sweep cannot use a stream")
    config = with_class_counts(config, data, saved_class_counts(workdir))
    struct = data.struct(config.batch_size)
    checkpoint = Checkpoints(workdir / "checkpoints").restore(abstract_state(config, struct))
    if checkpoint is not None:
        return SweepRun(config, data, checkpoint[1], hypers)
    zeros = jax.tree.map(jnp.zeros_like, struct)
    state = jax.jit(functools.partial(init, config))(keys, hypers, zeros)
    return SweepRun(config, data, state, hypers)


def open_member(config: Config, workdir: Path, k: int) -> Run:
    """Opens one member of the sweep in a workdir.

    Raises:
      UserError: there is no such member.
    """
    member_config(config, k)
    return open_sweep(config, workdir).member(k)


def write_member(run: Run, workdir: Path, k: int) -> Path:
    """Writes one member as a separate workdir in `members`, without checkpoints."""
    folder = workdir / "members" / str(k)
    require_plain(folder)
    (folder / "samples").mkdir(parents=True, exist_ok=True)
    write_config(folder / "config.json", run.config)
    lines = (
        {
            name: (values[k : k + 1] or [None])[0] if isinstance(values, list) else values
            for name, values in line.items()
        }
        for line in iter_metrics(workdir / "members.jsonl")
    )
    # Leaves out lines after the member was lost, and damaged ones.
    write_lines(folder / "metrics.jsonl", (line for line in lines if None not in line.values()))
    with atomic_write(folder / "samples" / f"{run.step}.png") as file:
        run.draw_samples(run.state, run.step, file)
    return folder


def _advance(
    config: Config,
    chunk: ChunkShape,
    devices: Sequence[jax.Device],
    state: GANState,
    hypers: PyTree,
    data: Any,
) -> tuple[GANState, Metrics]:
    """Trains the members that are alive; a member lost in this chunk keeps its old state."""
    step = jnp.max(state.step.generator)

    def advance(member: tuple[GANState, PyTree], shared: tuple[Any, Array]) -> Any:
        (state, values), (data, step) = member, shared
        own = with_values(config, values)
        moved, metrics = chunk_steps(own, build_gan(own), chunk)(state, data)
        alive = (state.step.generator == step) & _all_finite(moved)
        if config.non_finite == "stop":
            skipped = [num_skipped(p.opt_state) for s in (state, moved) for p in s[2:]]
            alive &= _all_finite(metrics) & (skipped[0] == skipped[2]) & (skipped[1] == skipped[3])
        no_key: Any = None  # the key never changes
        new, old = moved._replace(key=no_key), state._replace(key=no_key)
        state_out = jax.tree.map(lambda new, old: jnp.where(alive, new, old), new, old)
        metrics = {n: jnp.where(alive, m.astype(jnp.float32), jnp.nan) for n, m in metrics.items()}
        metrics[_ALIVE] = jnp.broadcast_to(alive, chunk.length)
        return state_out._replace(key=state.key), metrics

    return each_member(advance, (state, hypers), (data, step), devices)


def _all_finite(tree: PyTree) -> Array:
    floats = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(x.dtype, jnp.inexact)]
    return jnp.stack([jnp.isfinite(x).all() for x in floats]).all()
