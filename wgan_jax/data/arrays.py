"""Data sets that fit on the device, as uint8 arguments of the compiled program."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.data.dataset import Dataset, DatasetConfig, Units, fingerprint_of
from wgan_jax.types import Array, PyTree

_ROUNDS = 6


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ArrayDataset(Dataset):
    """Examples stored as arrays; an epoch visits each of them once.

    uint8 arrays are images and are returned as float32 in [-1, 1]; other dtypes, such as labels,
    are returned unchanged.

    Attributes:
      examples: pytree of arrays whose leading axis is the example.
      config: config node that it was opened from, which knows the held-out data, or None.
      class_names: of the classes 0, 1, ..., if they have names.
      units: conversion to the units of the user's data, if any.
      condition_units: conversion to the units of the conditions, if any.
      label_name: column name of the labels.

    Example:
      >>> import jax, numpy as np
      >>> data = ArrayDataset(np.arange(10, dtype=np.uint8))
      >>> epoch = [data.at(jax.random.key(0), step, 2) for step in range(5)]
      >>> sorted(int(round((x + 1) * 127.5)) for batch in epoch for x in batch.tolist())
      [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """

    examples: PyTree
    config: DatasetConfig | None = dataclasses.field(default=None, metadata={"static": True})
    class_names: tuple[str, ...] = dataclasses.field(default=(), metadata={"static": True})
    units: Units | None = dataclasses.field(default=None, metadata={"static": True})
    condition_units: Units | None = dataclasses.field(default=None, metadata={"static": True})
    label_name: str = dataclasses.field(default="label", metadata={"static": True})

    @property
    def size(self) -> int:
        return jax.tree.leaves(self.examples)[0].shape[0]

    def struct(self, n: int) -> PyTree:
        return jax.tree.map(lambda x: _struct(x, n), self.examples)

    def on_device(self) -> ArrayDataset:
        return jax.device_put(self)

    def held_out(self) -> Dataset | None:
        return None if self.config is None else self.config.open_held_out()

    def class_labels(self) -> np.ndarray | None:
        _, *rest = jax.tree.leaves(self.examples)
        labels = [x for x in rest if jnp.issubdtype(x.dtype, jnp.integer)]
        return np.asarray(labels[0]) if labels else None

    def draws(self, key: Array, n: int, count: int) -> Iterator[PyTree]:
        for i in range(count):
            yield self.at(key, i, n)

    def fingerprint(self) -> dict[str, Any]:
        """Return what identifies this data set: its size and a digest of evenly spaced examples.

        The digest covers all examples if they take less than 64 MiB.

        Example:
          >>> import numpy as np
          >>> a, b = (ArrayDataset(np.arange(10) % n).fingerprint() for n in (10, 9))
          >>> a["size"], a == b
          (10, False)
        """
        return fingerprint_of(self.size, jax.tree.leaves(self.examples))

    def __call__(self, key: Array, n: int) -> PyTree:
        """Draw `n` examples independently."""
        return self._take(jax.random.randint(key, (n,), 0, self.size))

    def at(self, key: Array, step: Array | int, n: int) -> PyTree:
        """Return the batch of `n` at `step`; successive batches run through shuffled epochs."""
        return self._take(epoch_order(key, step, n, self.size))

    def _take(self, index: Array) -> PyTree:
        return jax.tree.map(lambda x: to_unit_range(jnp.asarray(x)[index]), self.examples)


def _struct(x: Array, n: int) -> jax.ShapeDtypeStruct:
    dtype = np.float32 if x.dtype == np.uint8 else x.dtype
    return jax.ShapeDtypeStruct((n, *x.shape[1:]), dtype)


def to_unit_range(x: Array) -> Array:
    """Scale uint8 pixels to float32 in [-1, 1]; return other dtypes unchanged.

    Example:
      >>> to_unit_range(jnp.array([0, 255], jnp.uint8)).tolist()
      [-1.0, 1.0]
    """
    return x.astype(jnp.float32) / 127.5 - 1.0 if x.dtype == jnp.uint8 else x


def epoch_order(key: Array, step: Array | int, n: int, size: int) -> Array:
    """Return the indices, int32 [n], of the batch of `n` at `step` among `size` examples.

    A pure function that stores no permutation: element `i` is position `step * n + i` of an
    endless sequence of epochs, each a pseudo-random permutation keyed by its number. A batch may
    straddle two epochs; nothing is dropped.

    Raises:
      ValueError: a batch is larger than the data set.

    Example:
      >>> epoch = [epoch_order(jax.random.key(0), step, 2, 6) for step in range(3)]
      >>> sorted(int(i) for batch in epoch for i in batch)
      [0, 1, 2, 3, 4, 5]
    """
    if not 1 <= n <= size:
        raise ValueError(f"a batch of {n} cannot be drawn from {size} examples without repetition")
    if n * size >= 2**32:
        raise ValueError(f"batch times examples must be below 2^32, got {n} x {size}")
    # step * n may overflow 32 bits; with step = a * size + b it is a * n epochs plus b * n.
    a, b = jnp.divmod(jnp.asarray(step, jnp.uint32), jnp.uint32(size))
    position = b * jnp.uint32(n) + jnp.arange(n, dtype=jnp.uint32)
    epoch = a * jnp.uint32(n) + position // jnp.uint32(size)
    round_keys = jax.vmap(lambda e: jax.random.bits(jax.random.fold_in(key, e), (_ROUNDS,)))(epoch)
    return _permute(position % jnp.uint32(size), round_keys, size).astype(jnp.int32)


def _permute(index: Array, round_keys: Array, size: int) -> Array:
    """Permute by a Feistel network on the next power of four, cycle-walking to below `size`."""
    half_bits = max(2, -(-(size - 1).bit_length() // 2))

    def shuffle(index: Array) -> Array:
        mask = jnp.uint32(2**half_bits - 1)
        left, right = index >> half_bits, index & mask
        for r in range(_ROUNDS):
            left, right = right, left ^ (_mix(right ^ round_keys[:, r]) & mask)
        return (left << half_bits) | right

    def outside(index: Array) -> Array:
        return index >= size

    def walk(index: Array) -> Array:
        return jnp.where(outside(index), shuffle(index), index)

    return lax.while_loop(lambda index: outside(index).any(), walk, shuffle(index))


def _mix(x: Array) -> Array:
    """Apply the 32-bit finalizer of MurmurHash3: every input bit affects every output bit."""
    x = (x ^ (x >> 16)) * jnp.uint32(0x85EBCA6B)
    x = (x ^ (x >> 13)) * jnp.uint32(0xC2B2AE35)
    return x ^ (x >> 16)
