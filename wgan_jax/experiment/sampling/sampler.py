"""Sampling from a trained generator, one block at a time."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.data.labels import ranges
from wgan_jax.data.pixels import cut_to_middle
from wgan_jax.errors import UserError
from wgan_jax.experiment.build import build_gan, conditional_latent, sample_struct, with_fast_dtype
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.sampling.conditions import choose_conditions
from wgan_jax.experiment.schema import Arrays, Schema, read_schema, recorded_conditions
from wgan_jax.experiment.sweep import abstract_state, member_config, member_state
from wgan_jax.experiment.workdir import saved_class_counts
from wgan_jax.gan import GAN
from wgan_jax.latents import Labelled
from wgan_jax.networks.conditional import label_and_vector
from wgan_jax.transforms.ema import ema_of, with_ema
from wgan_jax.types import Array, GANState, PyTree, from_linen

BLOCK, _WAYPOINTS = 500, 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """Options for sampling from a generator."""

    num: int | None = 64
    """Number of samples or interpolations; None for one per condition of a file."""
    seed: int = 0
    """Seed of the latents."""
    weights: Literal["ema", "raw"] | None = None
    """Averaged or last weights; by default averaged if the run keeps an average."""
    truncation: float | None = None
    """Truncate latents to this bound; None for no truncation."""
    label: int | None = None
    """The only class to draw; None for all classes in the proportions of the data."""
    condition: tuple[tuple[str, str], ...] = ()
    """Condition columns and their fixed values; other columns are drawn from the data."""
    conditions: str | None = None
    """File with a condition for each sample."""


@dataclasses.dataclass(frozen=True)
class GeneratorSampler:
    """A trained generator together with a `SampleSpec`.

    Attributes:
      rows: conditions to draw from, for a generator that takes vectors; if the spec names a file,
        its conditions are used in order.
    """

    config: Config
    gan: GAN
    state: GANState
    spec: SampleSpec
    schema: Schema = Schema()
    rows: PyTree | None = None

    @property
    def num(self) -> int:
        """Number of samples to draw."""
        return self.spec.num if self.spec.num is not None else _length(self.rows)

    def blocks(self) -> Iterator[Arrays]:
        """Yields `samples` [block, ...] with their `labels` and `conditions`, `num` in total.

        All blocks except the last have the same size, so there is one compilation, and memory
        for one block.
        """
        key, left, i = jax.random.key(self.spec.seed), self.num, 0
        draw = self._draw()
        while left > 0:
            block = self._arrays(draw(self.state, jax.random.fold_in(key, i), jnp.int32(i)))
            yield {name: array[:left] for name, array in block.items()}
            left, i = left - BLOCK, i + 1

    def interpolate(self, frames: int, *, tour: bool) -> Iterator[Arrays]:
        """Yields `num` interpolations between latents, one frame [num, ...] at a time.

        They go from one latent to another in `frames` steps, or on a closed tour of four.
        """
        noise, num = self.config.latent, self.num
        keys = jax.random.split(jax.random.key(self.spec.seed), _WAYPOINTS + 1)
        waypoints = [self._noise(key, num) for key in keys[: _WAYPOINTS if tour else 2]]
        legs = itertools.pairwise([*waypoints, waypoints[0]] if tour else waypoints)
        condition = self._condition(keys[-1], num, jnp.int32(0))
        decode = jax.jit(self._decode)
        for a, b in legs:
            for t in np.linspace(0, 1, frames, endpoint=not tour, dtype=np.float32):
                z = noise.interpolate(a, b, jnp.full((num,), t))
                yield self._arrays(decode(self.state, z if condition is None else (z, condition)))

    def _draw(self) -> Callable[[GANState, Array, Array], PyTree]:
        """Returns a function that draws a block: `gan.generate`, unless latents are chosen."""
        spec = self.spec
        if (spec.truncation, spec.label, spec.condition, spec.conditions) == (None, None, (), None):
            return lambda state, key, i: self.gan.generate(state, key, BLOCK)
        is_conditional = conditional_latent(self.config) is not None

        @jax.jit
        def draw(state: GANState, key: Array, i: Array) -> PyTree:
            on_noise, on_condition = jax.random.split(key) if is_conditional else (key, key)
            condition = self._condition(on_condition, BLOCK, i)
            z = self._noise(on_noise, BLOCK)
            return self._decode(state, z if condition is None else (z, condition))

        return draw

    def _noise(self, key: Array, n: int) -> Array:
        bound, noise = self.spec.truncation, self.config.latent
        return noise(key, n) if bound is None else noise.truncated(key, n, bound)

    def _condition(self, key: Array, n: int, block: Array) -> PyTree | None:
        """Returns `n` conditions: drawn with the data's frequencies, or those of the file."""
        latent = conditional_latent(self.config)
        if isinstance(latent, Labelled):
            if self.spec.label is not None:
                return jnp.full((n,), self.spec.label, jnp.int32)
            return latent.label(key, n)
        if latent is None or self.spec.conditions is None:
            return latent and dataclasses.replace(latent, rows=self.rows).condition(key, n)
        i = (block * n + jnp.arange(n)) % _length(self.rows)
        return jax.tree.map(lambda x: jnp.asarray(x)[i], self.rows)

    def _decode(self, state: GANState, z: PyTree) -> PyTree:
        params, stats, _ = state.generator
        generator = from_linen(with_fast_dtype(self.config.generator))
        return generator.apply(params, stats, z, train=False)[0]

    def _arrays(self, block: PyTree) -> Arrays:
        samples = jax.device_get(jax.tree.leaves(block)[0])
        size = self.config.dataset.native_size
        samples = cut_to_middle(samples, size) if size and samples.ndim == 4 else samples
        condition = block[1] if isinstance(block, tuple) else None
        labels, vectors = map(jax.device_get, label_and_vector(condition))
        arrays = {"samples": samples, "labels": labels, "conditions": vectors}
        return {name: array for name, array in arrays.items() if array is not None}


def _length(rows: PyTree) -> int:
    return len(jax.tree.leaves(rows)[0])


def open_sampler(
    config: Config,
    workdir: Path,
    spec: SampleSpec,
    *,
    member: int | None = None,
) -> GeneratorSampler:
    """Opens the generator of a run, or of a member of a sweep, at its newest good checkpoint.

    The data need not be available.

    Raises:
      UserError: there is no good checkpoint, or the run does not support the spec.
    """
    schema = read_schema(workdir)
    config = dataclasses.replace(config, class_counts=saved_class_counts(workdir))
    _check(config, spec)
    rows, recorded = None, recorded_conditions(schema, workdir, config.dataset)
    if recorded is not None:
        dataset: Any = recorded
        config = dataclasses.replace(config, dataset=dataset)
        rows = choose_conditions(recorded.rows, schema, spec.label, spec.condition, spec.conditions)
        if schema.conditions is not None:
            asked = schema.conditions.covering(np.asarray(jax.tree.leaves(rows)[-1]))
            schema = dataclasses.replace(schema, conditions=asked)
    elif spec.condition or spec.conditions:
        raise UserError("this generator takes no vectors: leave --condition and --conditions out")
    struct = sample_struct(config, config.batch_size, schema)
    gan = build_gan(member_config(config, member))
    checkpoint = Checkpoints(workdir / "checkpoints").restore(abstract_state(config, struct))
    if checkpoint is None:
        raise UserError(f"{workdir} holds no checkpoint")
    state = checkpoint[1] if member is None else member_state(checkpoint[1], member)
    if spec.weights == "ema" and ema_of(state.generator.opt_state) is None:
        raise UserError("this run keeps no average: use --weights raw, or train with --ema-decay")
    state = state if spec.weights == "raw" else with_ema(state)
    return GeneratorSampler(config, gan, state, spec, schema, rows)


def _check(config: Config, spec: SampleSpec) -> None:
    label, classes = spec.label, config.num_classes
    if label is not None and not classes:
        raise UserError("this generator is not conditional: leave --label out")
    if label is not None and label >= classes:
        raise UserError(f"--label takes 0 to {classes - 1}, got {label}")
    counts = config.class_counts
    if label is not None and counts and not counts[label]:
        available = ranges([k for k, count in enumerate(counts) if count])
        raise UserError(
            f"the data had no example of class {label}, so the generator has not learned it: "
            f"--label takes {available}"
        )
    if spec.truncation is not None and not 0 < spec.truncation < float("inf"):
        raise UserError(f"--truncation takes a positive number, got {spec.truncation}")
