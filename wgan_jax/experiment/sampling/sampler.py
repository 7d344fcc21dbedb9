"""Samples of a trained generator, a block at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.data.labels import ranges
from wgan_jax.data.pixels import cut_to_middle
from wgan_jax.errors import UserError
from wgan_jax.experiment.build import build_gan, labelled, sample_struct
from wgan_jax.experiment.checkpoint.checkpointer import Checkpoints
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.schema import Arrays, Schema, read_schema
from wgan_jax.experiment.sweep import abstract_state, member_config, member_state
from wgan_jax.experiment.workdir import saved_class_counts
from wgan_jax.gan import GAN
from wgan_jax.transforms.ema import ema_of, with_ema
from wgan_jax.types import Array, GANState, PyTree, from_linen

BLOCK, _STOPS = 500, 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """Which samples are wanted."""

    num: int = 64
    """Number of samples, or of interpolations."""
    seed: int = 0
    """Seed of the latents."""
    weights: Literal["ema", "raw"] | None = None
    """Averaged or last weights; by default averaged where the run keeps an average."""
    truncation: float | None = None
    """Bound that latents are truncated to; None for no bound."""
    label: int | None = None
    """The one class to draw; if None, all in the proportions of the data."""


@dataclasses.dataclass(frozen=True)
class GeneratorSampler:
    """A trained generator, and which of its samples are wanted."""

    config: Config
    gan: GAN
    state: GANState
    wish: SampleSpec
    schema: Schema = Schema()

    def blocks(self) -> Iterator[Arrays]:
        """`samples` [block, ...] and, of a conditional generator, `labels` [block], `num` in all.

        All blocks but the last are of one size: one compile, and memory for one block.
        """
        key, left, i = jax.random.key(self.wish.seed), self.wish.num, 0
        draw = self._draw()
        while left > 0:
            block = self._arrays(draw(self.state, jax.random.fold_in(key, i)))
            yield {name: array[:left] for name, array in block.items()}
            left, i = left - BLOCK, i + 1

    def walk(self, frames: int, *, tour: bool) -> Iterator[Arrays]:
        """`num` walks between latents, a frame [num, ...] at a time.

        From one latent to another in `frames` steps, or as a tour of four that
        ends where it begins.
        """
        noise, num = self.config.latent, self.wish.num
        keys = jax.random.split(jax.random.key(self.wish.seed), _STOPS + 1)
        stops = [self._noise(key, num) for key in keys[: _STOPS if tour else 2]]
        legs = zip(stops, [*stops[1:], stops[0]], strict=True) if tour else [tuple(stops)]
        labels = self._labels(keys[-1], num)
        decode = jax.jit(self._decode)
        for a, b in legs:
            for t in np.linspace(0, 1, frames, endpoint=not tour, dtype=np.float32):
                z = noise.between(a, b, jnp.full((num,), t))
                yield self._arrays(decode(self.state, z if labels is None else (z, labels)))

    def _draw(self) -> Callable[[GANState, Array], PyTree]:
        """One block by its key: as the run's own `generate` unless latents are chosen."""
        classes, wish = getattr(self.config.generator, "num_classes", 0), self.wish
        if wish.truncation is None and wish.label is None:
            return lambda state, key: self.gan.generate(state, key, BLOCK)

        @jax.jit
        def draw(state: GANState, key: Array) -> PyTree:
            on_noise, on_label = jax.random.split(key) if classes else (key, key)
            labels = self._labels(on_label, BLOCK)
            z = self._noise(on_noise, BLOCK)
            return self._decode(state, z if labels is None else (z, labels))

        return draw

    def _noise(self, key: Array, n: int) -> Array:
        bound, noise = self.wish.truncation, self.config.latent
        return noise(key, n) if bound is None else noise.truncated(key, n, bound)

    def _labels(self, key: Array, n: int) -> Array | None:
        latent = labelled(self.config)
        if latent is None:
            return None
        if self.wish.label is not None:
            return jnp.full((n,), self.wish.label, jnp.int32)
        return latent.label(key, n)

    def _decode(self, state: GANState, z: PyTree) -> PyTree:
        params, stats, _ = state.generator
        return from_linen(self.config.generator).apply(params, stats, z, train=False)[0]

    def _arrays(self, block: PyTree) -> Arrays:
        samples, *labels = jax.device_get(jax.tree.leaves(block))
        size = self.config.dataset.native_size
        samples = cut_to_middle(samples, size) if size and samples.ndim == 4 else samples
        return {"samples": samples} | ({"labels": labels[0]} if labels else {})


def open_sampler(
    config: Config,
    workdir: Path,
    wish: SampleSpec,
    *,
    member: int | None = None,
) -> GeneratorSampler:
    """The generator of a workdir at its newest good checkpoint; the data need not be there.

    Of a sweep that of a member.

    Raises:
      UserError: no good checkpoint, or a wish that this run cannot fulfil.
    """
    config = dataclasses.replace(config, class_counts=saved_class_counts(workdir))
    _check(config, wish)
    schema = read_schema(workdir)
    struct = sample_struct(config, config.batch_size, schema)
    gan = build_gan(member_config(config, member))
    found = Checkpoints(workdir / "checkpoints").restore(abstract_state(config, struct))
    if found is None:
        raise UserError(f"{workdir} holds no checkpoint")
    state = found[1] if member is None else member_state(found[1], member)
    if wish.weights == "ema" and ema_of(state.generator.opt_state) is None:
        raise UserError("this run keeps no average: take --weights raw, or train with --ema-decay")
    state = state if wish.weights == "raw" else with_ema(state)
    return GeneratorSampler(config, gan, state, wish, schema)


def _check(config: Config, wish: SampleSpec) -> None:
    classes = getattr(config.generator, "num_classes", 0)
    if wish.label is not None and not classes:
        raise UserError("this generator is not conditional: leave --label out")
    if wish.label is not None and wish.label >= classes:
        raise UserError(f"--label takes 0 to {classes - 1}, got {wish.label}")
    counts = config.class_counts
    if wish.label is not None and counts and not counts[wish.label]:
        there = ranges([label for label, count in enumerate(counts) if count])
        raise UserError(
            f"the data had no example of class {wish.label}, so the generator has not learned it: "
            f"--label takes {there}"
        )
    if wish.truncation is not None and not 0 < wish.truncation < float("inf"):
        raise UserError(f"--truncation takes a positive number, got {wish.truncation}")
