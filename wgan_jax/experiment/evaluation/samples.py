"""Draws the samples that an evaluation compares.

Every set holds exactly as many rows as requested, in random order: a sampler may return rows
that are sorted though independent, and the first rows of such a set have a different
distribution.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.data.dataset import Dataset
from wgan_jax.gan import GAN
from wgan_jax.loop import shuffle_rows
from wgan_jax.transforms.ema import ema_of
from wgan_jax.types import Array, GANState, PyTree

_BLOCK_VALUES = 2**22  # generated at once


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class Unlabelled:
    """Sampler of the examples of a sampler of pairs, without their labels or conditions."""

    sampler: Any

    def __call__(self, key: Array, n: int) -> Array:
        return jax.tree.leaves(self.sampler(key, n))[0]


def generated(gan: GAN, state: GANState) -> Unlabelled:
    """Return a sampler of a generator's examples, without their labels or conditions."""
    return Unlabelled(jax.tree_util.Partial(gan.generate, state))


def weights_of(state: GANState) -> str:
    """Return which weights `with_ema` selects: averaged or raw."""
    return "raw" if ema_of(state.generator.opt_state) is None else "averaged"


def kind_of(data: Dataset) -> str:
    """Return what to call real samples; those of a finite set were trained on."""
    return "data" if data.size is None else "training data"


def draw_sizes(size: int | None, points: int, draws: int) -> tuple[int, int]:
    """Return the size and the number of sets of real samples, at most `points` and `draws`.

    A finite data set gives two sets or more, as far as it does not have to repeat examples.
    """
    if size is None:
        return points, draws
    points = min(points, size // 2)
    return points, min(draws, max(2, size // points))


def fake_draws(gan: GAN, state: GANState, key: Array, n: int, count: int) -> Iterator[PyTree]:
    """Yield `count` independent sets of exactly `n` samples of the state's generator."""
    for set_key in jax.random.split(key, count):
        yield generate(gan, state, set_key, n)


def generate(gan: GAN, state: GANState, key: Array, n: int) -> PyTree:
    """Generate exactly `n` samples in random order, a block at a time."""
    on_rows, on_order = jax.random.split(key)
    example = jax.eval_shape(lambda key: gan.generate(state, key, 1), key)
    block = max(1, _BLOCK_VALUES // int(np.prod(jax.tree.leaves(example)[0].shape)))
    sizes = [min(block, n - start) for start in range(0, n, block)]
    keys = jax.random.split(on_rows, len(sizes))
    blocks = [gan.generate(state, k, size) for k, size in zip(keys, sizes, strict=True)]
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), *blocks)
    return shuffle_rows(on_order, joined)


def examples_of(samples: PyTree) -> np.ndarray:
    """Return samples [n, ...] without their labels or conditions."""
    return np.asarray(jax.tree.leaves(samples)[0])


def sample_shape(data: Dataset) -> tuple[int, ...]:
    """Return the shape of one example, without its label or condition."""
    return jax.tree.leaves(data.struct(1))[0].shape[1:]


def points(samples: PyTree) -> np.ndarray:
    """Return samples, or the first leaf of pairs, as points [n, d]."""
    first = examples_of(samples)
    return first.reshape(len(first), -1)
