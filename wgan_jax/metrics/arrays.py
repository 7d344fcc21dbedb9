"""Feature arrays: what the metrics take, checked, and how any network gives them."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.types import Array, PyTree

AnyArray = Array | np.ndarray


def extract(
    features: Callable[[Array], Array], samples: AnyArray, *, batch_size: int = 500
) -> Array:
    """The features of many samples, a batch at a time: one program, memory for one batch.

    Matrix products that name no precision of their own run in full precision, also where
    the default of a GPU or TPU is less: scores compare features over small differences.

    Args:
      features: samples [n, ...] to features [n, d]; any function that can be jitted.
      samples: [n, ...].
      batch_size: samples that are in work at once.

    Returns:
      Features [n, d].

    Raises:
      ValueError: no samples, a `batch_size` below 1, or `features` gives another shape.

    Example:
      >>> import jax.numpy as jnp
      >>> extract(lambda x: x.reshape(len(x), -1), jnp.ones((5, 2, 3)), batch_size=2).shape
      (5, 6)
    """
    if jnp.ndim(samples) < 1 or len(samples) == 0 or batch_size < 1:
        raise ValueError(
            f"extract takes samples [n, ...] and a batch_size of at least 1, got "
            f"{jnp.shape(samples)} and {batch_size}"
        )
    made = jax.eval_shape(features, jax.ShapeDtypeStruct((2, *samples.shape[1:]), samples.dtype))
    if made.ndim != 2 or made.shape[0] != 2:
        raise ValueError(f"features of 2 samples must be [2, d], got {made.shape}")
    with jax.default_matmul_precision("highest"):
        return lax.map(
            lambda one: features(one[None])[0],
            jnp.asarray(samples),
            batch_size=min(batch_size, len(samples)),
        )


def is_traced(*arrays: PyTree) -> bool:
    """Whether a transformation is at work, so that values cannot be looked at."""
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(arrays))


def feature_pair(name: str, x: AnyArray, y: AnyArray, least: int) -> tuple[AnyArray, AnyArray]:
    """Two feature arrays that the metric `name` may compare; at least float32.

    Raises:
      ValueError: not [n, d] and [m, d], fewer than `least` samples, no floating-point
        numbers, or values that are not finite (which a trace cannot see).
    """
    shapes = f"{jnp.shape(x)} and {jnp.shape(y)}"
    if jnp.ndim(x) != 2 or jnp.ndim(y) != 2 or x.shape[1] != y.shape[1] or x.shape[1] == 0:
        raise ValueError(f"{name} takes features [n, d] and [m, d], got {shapes}")
    if min(len(x), len(y)) < least:
        raise ValueError(f"{name} needs at least {least} samples of each, got {shapes}")
    return floating(name, x), floating(name, y)


def floating(name: str, x: AnyArray) -> AnyArray:
    """`x` as at least float32, where its values are finite floating-point numbers."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{name} takes floating-point numbers, got {x.dtype} of shape {x.shape}")
    if not is_traced(x):
        bad = np.count_nonzero(~np.isfinite(np.asarray(x)))
        if bad:
            raise ValueError(f"{name} got {bad} values that are not finite in shape {x.shape}")
    return x if x.dtype.itemsize >= 4 else x.astype(jnp.float32)
