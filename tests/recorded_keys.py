"""A PRNG implementation that records every use of a key, also in compiled programs."""

import collections
from collections.abc import Iterator
from contextlib import contextmanager

import jax
import numpy as np
from jax.extend import random as extended

Use = tuple[str, tuple[int, ...]]
_seen: list[tuple[tuple[int, ...], Use]] = []
_BASE = extended.threefry_prng_impl


def _note(use: Use, key: np.ndarray) -> None:
    for row in np.asarray(key).reshape(-1, *_BASE.key_shape):
        _seen.append((tuple(row.ravel().tolist()), use))


def _bits(key, bit_width, shape):
    jax.debug.callback(lambda key: _note(("bits", (bit_width, *shape)), key), key)
    return _BASE.random_bits(key, bit_width, shape)


def _split(key, shape):
    jax.debug.callback(lambda key: _note(("split", tuple(shape)), key), key)
    return _BASE.split(key, shape)


_RECORDER = extended.define_prng_impl(
    key_shape=_BASE.key_shape,
    seed=_BASE.seed,
    split=_split,
    random_bits=_bits,
    fold_in=_BASE.fold_in,
    name="recorded",
    tag="threefry2x32",  # a checkpoint names it
)


@contextmanager
def recorded(monkeypatch) -> Iterator[collections.Counter]:
    """Counts how often each key was used for what; filled at the end of the block.

    Inside the block, all new keys and all keys of checkpoints are recorded.
    """
    plain, wrap, counts = jax.random.key, jax.random.wrap_key_data, collections.Counter()
    _seen.clear()
    with monkeypatch.context() as patch:
        patch.setattr(jax.random, "key", lambda seed, **_: plain(seed, impl=_RECORDER))
        patch.setattr(jax.random, "wrap_key_data", lambda data, **_: wrap(data, impl=_RECORDER))
        yield counts
        jax.effects_barrier()
    counts.update(_seen)


def reused(counts: collections.Counter, repeatable: frozenset[Use] = frozenset()) -> list:
    """Keys used for two purposes, or twice for a purpose that may not repeat."""
    uses = collections.defaultdict(collections.Counter)
    for (key, use), count in counts.items():
        uses[key][use] += count
    return [
        (key, dict(found))
        for key, found in uses.items()
        if len(found) > 1 or (sum(found.values()) > 1 and not set(found) <= repeatable)
    ]
