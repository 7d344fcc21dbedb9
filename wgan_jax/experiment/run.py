"""A run: config, GAN, data and state, with the operations that the training loop needs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.data.dataset import Dataset
from wgan_jax.experiment import plots
from wgan_jax.experiment.build import build_gan, open_dataset, with_class_counts, with_fast_dtype
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.chunks import ChunkShape, chunk_steps
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.distributed import processes
from wgan_jax.experiment.distributed.placement import ShardingStrategy
from wgan_jax.experiment.evaluation.certified import CertifiedW1, critic_share
from wgan_jax.experiment.evaluation.critic import CriticDiagnostics, diagnose
from wgan_jax.experiment.evaluation.samples import examples_of, points, sample_shape
from wgan_jax.experiment.nonfinite import NonFiniteGuard
from wgan_jax.experiment.schema import Schema, saved_schema
from wgan_jax.experiment.workdir import saved_class_counts
from wgan_jax.files import atomic_write
from wgan_jax.gan import GAN
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.transforms.ema import with_ema
from wgan_jax.types import Array, GANState, PyTree, from_linen
from wgan_jax.vae import EvidenceBound

_GRID, _POINTS = 64, 2_000
_EVALUATORS = ("held_out", "certified_w1", "critic_diagnostics")  # independent of the state

Program = Callable[[GANState, Any], tuple[GANState, dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run at a given step."""

    config: Config
    gan: GAN
    data: Dataset
    state: GANState

    logs = ("metrics.jsonl",)

    @property
    def step(self) -> int:
        """Number of completed generator iterations."""
        return int(self.state.step)

    def at(self, state: GANState) -> Run:
        """Returns the run with another state; it reuses the compiled evaluators and their data."""
        run = dataclasses.replace(self, state=state)
        evaluators = {name: self.__dict__[name] for name in _EVALUATORS if name in self.__dict__}
        run.__dict__.update(evaluators)
        return run

    def describe(self) -> str:
        return f"generator iteration {self.step:,} of {self.config.steps:,}"

    def describe_sizes(self) -> str:
        """Describes the size of the data set and the numbers of parameters."""
        size = self.data.size
        data = "a distribution" if size is None else f"{size:,} examples"
        ours, theirs = (sum(x.size for x in jax.tree.leaves(p.params)) for p in self.state[2:])
        return f"{data}; a critic of {ours:,} parameters and a generator of {theirs:,}"

    def compile(self, sharding: ShardingStrategy) -> Callable[[ChunkShape], Program]:
        """Returns a function that maps a chunk shape to its compiled program."""
        gan = self.gan if sharding.mesh is None else build_gan(self.config, sharding)

        @functools.cache
        def program(chunk: ChunkShape) -> Program:
            return sharding.compile(chunk_steps(self.config, gan, chunk), self.state)

        return program

    def non_finite_guard(self) -> NonFiniteGuard:
        return NonFiniteGuard(self.config.non_finite, self.state)

    def evaluate(self, state: GANState) -> dict[str, Any]:
        """Evaluates samples and the critic; does not change the run."""
        metrics = self.certified_w1(state) | self.critic_diagnostics(state)
        return metrics | critic_share(metrics)

    warnings = staticmethod(diagnose)

    @functools.cached_property
    def held_out(self) -> Dataset | None:
        """Held-out data, read once; None if the data set holds none out."""
        return self.data.held_out()

    @functools.cached_property
    def certified_w1(self) -> CertifiedW1:
        return CertifiedW1(self.gan, self.held_out, self.data.units)

    @functools.cached_property
    def critic_diagnostics(self) -> CriticDiagnostics:
        return CriticDiagnostics(self.config, self.gan, self.data, self.held_out)

    def log_lines(
        self, metrics: dict[str, np.ndarray], i: int, evaluation: dict[str, Any]
    ) -> dict[str, dict[str, Any]]:
        """Returns iteration `i` of a chunk as one line per file of `logs`."""
        line = {name: float(values[i]) for name, values in sorted(metrics.items())}
        return {"metrics.jsonl": line | evaluation}

    def draw_data(self, path: Path) -> None:
        """Writes a picture of real images; for points, `draw_samples` shows the data as well."""
        shape = sample_shape(self.data)
        if len(shape) != 3 or path.exists():
            return
        with atomic_write(path) as file:
            plots.image_grid(examples_of(reals(self.config, self.data, _GRID)), file)

    def draw_samples(self, state: GANState, step: int, file: BinaryIO) -> None:
        """Writes a picture of samples from fixed noise: images, points in the plane or columns."""
        key = derive_key(jax.random.key(self.config.seed), Purpose.SAMPLES)
        shape = sample_shape(self.data)
        count = _GRID if len(shape) == 3 else _POINTS
        samples = self.gan.generate(with_ema(state), key, count)
        fake, *conditions = map(np.asarray, jax.tree.leaves(samples))
        if labels := [x for x in conditions if x.ndim == 1]:
            fake = fake[np.argsort(labels[0], kind="stable")]
        if len(shape) == 3:
            plots.image_grid(fake, file)
            return
        real = points(reals(self.config, self.data, count))
        if shape == (2,):
            critic = None if conditions else self._critic_scores(state)
            plots.plane(real, fake, critic, step, file)
        else:
            draw_columns(self.data, real, points(fake), step, file)

    def draw_curves(self, lines: list[dict[str, Any]], file: BinaryIO) -> None:
        plots.curves(lines, self.config.objective.estimates, file)

    def _critic_scores(self, state: GANState) -> Callable[[np.ndarray], Array] | None:
        """Returns the critic as a function of points; None for a VAE, which has an encoder."""
        if isinstance(self.config.objective, EvidenceBound):
            return None
        critic, (params, stats, _) = from_linen(with_fast_dtype(self.config.critic)), state.critic
        return lambda x: critic.apply(params, stats, x, train=False)[0]


def reals(config: Config, data: Dataset, most: int) -> PyTree:
    """Returns the real samples that pictures of a run show: at most `most`, always the same."""
    key = derive_key(jax.random.key(config.seed), Purpose.SAMPLES)
    n = min(most, data.size or most)
    return next(data.draws(derive_key(key, Purpose.CRITIC_DATA), n, 1))


def draw_columns(
    data: Dataset, real: np.ndarray, fake: np.ndarray, step: int, file: BinaryIO
) -> None:
    """Writes a picture of the columns of data and samples, points [n, d]."""
    schema = Schema.of(data)
    left, right = (schema.columns({"samples": x}) for x in (real, fake))
    plots.marginals(left, right, step, file)


def _build(config: Config, workdir: Path) -> tuple[Dataset, GAN, Config]:
    # Reading data is slow: reject parts that do not fit first, unless they need condition vectors.
    early = None if config.condition_dim else build_gan(config)
    data = open_dataset(config, saved_schema(workdir))
    counted = with_class_counts(config, data, saved_class_counts(workdir))
    gan = build_gan(counted) if early is None or counted != config else early
    return data, gan, counted


def open_run(config: Config, workdir: Path) -> Run:
    """Opens the run in a workdir at its newest good checkpoint, or at step 0.

    Raises:
      UserError: parts that do not fit together, or checkpoints none of which is good.
    """
    data, gan, config = processes.run_on_all(lambda: _build(config, workdir))
    struct = data.struct(config.batch_size)
    key = jax.random.key(config.seed)
    like = jax.eval_shape(gan.init, key, struct)

    def restored() -> GANState | None:
        checkpoint = Checkpoints(workdir / "checkpoints").restore(like)
        return None if checkpoint is None else checkpoint[1]

    state = processes.broadcast_from_primary(restored, like)
    if state is None:
        state = gan.init(key, jax.tree.map(jnp.zeros_like, struct))
    return Run(config, gan, data, state)
