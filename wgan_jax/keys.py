"""Derives PRNG keys from a root key, a step and the purpose of the draw."""

from __future__ import annotations

import enum

import jax
import jax.numpy as jnp

from wgan_jax.types import Array


class Purpose(enum.IntEnum):
    """Purpose of a PRNG key. No two purposes share a key; existing numbers never change."""

    GENERATOR_INIT = 0
    CRITIC_INIT = 1
    CRITIC_DATA = 2
    CRITIC_LATENT = 3
    CRITIC_DROPOUT = 4
    INTERPOLATION = 5
    GENERATOR_LATENT = 6
    GENERATOR_DROPOUT = 7
    INIT_LATENT = 8
    SAMPLES = 9
    EVALUATION = 10
    UNROLLED = 11
    MONITOR = 12
    QUALITY = 13
    HELD_OUT = 14
    CERTIFIED = 15
    MEMORIZATION = 16


def derive_key(root: Array, purpose: Purpose, step: Array | int = 0) -> Array:
    """Derive the key of one purpose at one step: a pure function of the root key.

    Example:
      >>> import jax
      >>> root = jax.random.key(0)
      >>> latent = derive_key(root, Purpose.CRITIC_LATENT, step=3)
      >>> data = derive_key(root, Purpose.CRITIC_DATA, step=3)
      >>> bool((jax.random.key_data(latent) == jax.random.key_data(data)).all())
      False
    """
    return jax.random.fold_in(jax.random.fold_in(root, step), purpose)


Draw, key_for = Purpose, derive_key  # former names, kept for one version


def typed(key: Array) -> Array:
    """Return a typed key as is, or wrap a legacy uint32 key.

    Raises:
      ValueError: `key` is neither a single typed key nor a legacy key.

    Example:
      >>> import jax
      >>> typed(jax.random.PRNGKey(0)) == jax.random.key(0)
      Array(True, dtype=bool)
    """
    if isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key):
        if key.shape == ():
            return key
        raise ValueError(f"expected one key, got an array of keys of shape {key.shape}")
    shape, dtype = getattr(key, "shape", None), getattr(key, "dtype", type(key).__name__)
    if dtype != jnp.uint32 or shape is None or len(shape) != 1:
        given = repr(key) if isinstance(key, int) else f"{dtype} of shape {shape}"
        seed = given if type(key) is int else "seed"
        raise ValueError(f"expected a key, jax.random.key({seed}), got {given}")
    return jax.random.wrap_key_data(key)
