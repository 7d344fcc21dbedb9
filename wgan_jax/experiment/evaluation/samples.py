"""Draws the samples that an evaluation compares, and says which data no training step has seen.

Every set holds exactly as many rows as asked for, in random order: a sampler may give rows
that are independent of each other but sorted, and whoever cuts such a set by its first rows
compares two different distributions.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.data.arrays import to_unit_range
from wgan_jax.data.stream import ImageStream
from wgan_jax.ema import ema_of
from wgan_jax.errors import UserError
from wgan_jax.gan import GAN
from wgan_jax.loop import as_pytree, shuffle_rows
from wgan_jax.types import Array, GANState, PyTree

_BLOCK_VALUES = 2**22  # of samples that a generator makes at once


def held_out_data(dataset: Any, data: Any) -> Any | None:
    """Data of the same distribution that no training step sees; None where there are none.

    Args:
      dataset: the config's node.
      data: what it opened. A sampler's draws are new each time, so it is its own held-out data.
    """
    if size_of(data) is None:
        return as_pytree(data)
    try:
        return dataset.held_out() if hasattr(dataset, "held_out") else None
    except UserError:  # the other split is not on this machine
        return None


def weights_of(state: GANState) -> str:
    """Which weights `with_ema` takes samples from: averaged or raw."""
    return "raw" if ema_of(state.generator.opt_state) is None else "averaged"


def kind_of(data: Any) -> str:
    """What to call the real samples of `real_draws`: those of a finite set were trained on."""
    return "data" if size_of(data) is None else "training data"


def size_of(data: Any) -> int | None:
    """The number of examples; None for a sampler, which has no end."""
    return getattr(data, "size", None)


def real_draws(data: Any, key: Array, n: int, count: int) -> Iterator[PyTree]:
    """`count` sets of exactly `n` real samples; a finite data set repeats none of them.

    Raises:
      ValueError: a finite data set holds fewer than `n`.
    """
    if isinstance(data, ImageStream):
        order = int(jax.random.bits(key))
        for pixels in islice(data.batches(order, n, 0), count):
            yield to_unit_range(jnp.asarray(pixels))
    elif hasattr(data, "at"):
        for i in range(count):
            yield data.at(key, i, n)
    else:
        sampler = as_pytree(data)
        for on_rows, on_order in jax.random.split(key, (count, 2)):
            yield shuffle_rows(on_order, sampler(on_rows, n))


def fake_draws(gan: GAN, state: GANState, key: Array, n: int, count: int) -> Iterator[PyTree]:
    """`count` independent sets of exactly `n` samples of the state's generator."""
    for each in jax.random.split(key, count):
        yield generate(gan, state, each, n)


def generate(gan: GAN, state: GANState, key: Array, n: int) -> PyTree:
    """Exactly `n` samples, generated a block at a time and in random order."""
    on_rows, on_order = jax.random.split(key)
    one = jax.eval_shape(lambda key: gan.generate(state, key, 1), key)
    block = max(1, _BLOCK_VALUES // int(np.prod(jax.tree.leaves(one)[0].shape)))
    sizes = [min(block, n - start) for start in range(0, n, block)]
    keys = jax.random.split(on_rows, len(sizes))
    blocks = [gan.generate(state, k, size) for k, size in zip(keys, sizes, strict=True)]
    joined = jax.tree.map(lambda *parts: jnp.concatenate(parts), *blocks)
    return shuffle_rows(on_order, joined)


def points(samples: PyTree) -> np.ndarray:
    """Samples as points [n, d]; of pairs, the first."""
    first = np.asarray(jax.tree.leaves(samples)[0])
    return first.reshape(len(first), -1)
