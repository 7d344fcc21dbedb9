"""Samples and samplers mapped to the space of user-supplied features."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.estimate.samples import as_numbers, as_samples, require_numbers
from wgan_jax.loop import as_pytree
from wgan_jax.types import Array

_VALUES = 1 << 22  # in one block of samples


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Features:
    """A function of samples, evaluated at full float32 precision on every platform."""

    function: Any

    def __call__(self, x: Array) -> Array:
        with jax.default_matmul_precision("highest"):
            return self.function(x)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _FeatureSampler:
    """A sampler of features."""

    features: _Features
    sampler: Any

    def __call__(self, key: Array, n: int) -> Array:
        return self.features(self.sampler(key, n))


def features_of(source: Any, features: Any, name: str) -> Any:
    """Features [n, ...] of an array's rows, computed in blocks, or a sampler of features.

    Raises:
      ValueError: the features are not a single array with one row per sample, or are not
        computed by JAX; the samples are not numbers.
    """
    function = _Features(as_pytree(features))
    if callable(source):
        return _FeatureSampler(function, as_pytree(source))
    x = as_samples(source, name).x
    if x.ndim == 0 or len(x) == 0:
        raise ValueError(f"{name} needs samples [n, ...], got shape {x.shape}")
    x = as_numbers(x, name) if x.dtype == object else x
    require_numbers(x, name)
    size = min(len(x), max(1, _VALUES // max(1, x[0].size)))
    apply = partial(_apply, function)
    block = jax.ShapeDtypeStruct((size, *x.shape[1:]), jnp.asarray(x[:1]).dtype)
    try:
        struct = jax.eval_shape(function, block)
    except jax.errors.JAXTypeError as error:
        what = str(error).splitlines()[0]
        raise ValueError(f"the features cannot be traced by JAX: {what}") from error
    if getattr(struct, "shape", ())[:1] != (size,):
        what = getattr(struct, "shape", type(struct).__name__)
        raise ValueError(
            f"features map samples {(size, *x.shape[1:])} to one array [{size}, ...], got {what}"
        )
    # The last block is padded, so that one program is compiled; padding is cut off.
    blocks = [x[np.arange(i, i + size) % len(x)] for i in range(0, len(x), size)]
    return np.concatenate([np.asarray(apply(block)) for block in blocks])[: len(x)]


@jax.jit
def _apply(features: _Features, x: Array) -> Array:
    return features(x)


def name_of(features: Callable[..., Any]) -> str:
    """Name of the features: their `name`, or that of the function.

    Example:
      >>> import functools
      >>> name_of(functools.partial(np.sqrt)), name_of(lambda x: x)
      ('sqrt', 'features')
    """
    inner = getattr(features, "func", features)
    name = getattr(features, "name", None) or getattr(inner, "__name__", type(inner).__name__)
    return "features" if name == "<lambda>" else str(name)
