"""Feature arrays: extraction with any network, and validation of metric inputs."""

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
    """Compute features of many samples in batches: one compiled program, memory of one batch.

    Matrix products without an explicit precision run in full precision, even where the default
    of a GPU or TPU is lower: metrics depend on small differences of features.

    Args:
      features: any jittable function from samples [n, ...] to features [n, d].
      samples: [n, ...].
      batch_size: samples processed at once.

    Returns:
      Features [n, d].

    Raises:
      ValueError: no samples, a `batch_size` below 1, or features of another shape.

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
    struct = jax.eval_shape(features, jax.ShapeDtypeStruct((2, *samples.shape[1:]), samples.dtype))
    if struct.ndim != 2 or struct.shape[0] != 2:
        raise ValueError(f"features of 2 samples must be [2, d], got {struct.shape}")
    with jax.default_matmul_precision("highest"):
        return lax.map(
            lambda sample: features(sample[None])[0],
            jnp.asarray(samples),
            batch_size=min(batch_size, len(samples)),
        )


def is_traced(*arrays: PyTree) -> bool:
    """Whether any array is a tracer, so that its values cannot be inspected."""
    return any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(arrays))


def feature_pair(name: str, x: AnyArray, y: AnyArray, least: int) -> tuple[AnyArray, AnyArray]:
    """Validate two feature arrays for the metric `name`, and return them as at least float32.

    Raises:
      ValueError: not [n, d] and [m, d], fewer than `least` samples, no floating-point
        numbers, or values that are not finite (not checked for tracers).
    """
    shapes = f"{jnp.shape(x)} and {jnp.shape(y)}"
    if jnp.ndim(x) != 2 or jnp.ndim(y) != 2 or x.shape[1] != y.shape[1] or x.shape[1] == 0:
        raise ValueError(f"{name} takes features [n, d] and [m, d], got {shapes}")
    if min(len(x), len(y)) < least:
        raise ValueError(f"{name} needs at least {least} samples of each, got {shapes}")
    return floating(name, x), floating(name, y)


def floating(name: str, x: AnyArray) -> AnyArray:
    """Check that values are finite floating-point numbers, and return them as at least float32."""
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(f"{name} takes floating-point numbers, got {x.dtype} of shape {x.shape}")
    if not is_traced(x):
        bad = np.count_nonzero(~np.isfinite(np.asarray(x)))
        if bad:
            raise ValueError(f"{name} got {bad} values that are not finite in shape {x.shape}")
    return x if x.dtype.itemsize >= 4 else x.astype(jnp.float32)
