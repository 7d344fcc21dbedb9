"""Validation of the arguments of checks, before the component under check is blamed."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from wgan_jax.algorithm import batch_size_of
from wgan_jax.types import PyTree


def batch_of(x: PyTree, check: str, rows: int = 1) -> PyTree:
    """Convert a batch to JAX arrays.

    Raises:
      ValueError: leaves that are not arrays, values that are not finite, leading axes that
        differ, or fewer than `rows` rows.

    Example:
      >>> batch_of([[1.0, 2.0], [3.0, 4.0]], "check_network")
      Traceback (most recent call last):
      ValueError: check_network takes a batch as an array [batch, ...], or a pytree of arrays; ...
    """

    def array(path: Any, leaf: Any) -> jax.Array:
        name = jax.tree_util.keystr(path)
        try:
            made = jnp.asarray(leaf if hasattr(leaf, "shape") else None)
        except (TypeError, ValueError):
            raise ValueError(
                f"{check} takes a batch as an array [batch, ...], or a pytree of arrays; the "
                f"leaf{f' {name}' if name else ''} is {_kind(leaf)}: make an array of numbers "
                f"with jnp.asarray(...)"
            ) from None
        if jnp.issubdtype(made.dtype, jnp.inexact) and not jnp.isfinite(made).all():
            raise ValueError(f"the batch{name} of {check} contains values that are not finite")
        return made

    batch = jax.tree_util.tree_map_with_path(array, x)
    size = batch_size_of(batch)
    if size < rows:
        raise ValueError(f"{check} needs a batch of at least {rows} rows, got {size}")
    return batch


def check_function(part: Any, role: str, signature: str) -> None:
    """Reject objects that cannot be called, and classes passed instead of instances.

    Raises:
      ValueError: names the role, the object given and the expected signature.

    Example:
      >>> check_function(jnp.ones((4, 2)), "sampler", "(key, n) -> x[n, ...]")
      Traceback (most recent call last):
      ValueError: the sampler must be a function (key, n) -> x[n, ...], got an ArrayImpl
    """
    if isinstance(part, type):
        raise ValueError(
            f"the {role} is the class {part.__name__}: make an instance with {part.__name__}(...)"
        )
    if not callable(part):
        raise ValueError(f"the {role} must be a function {signature}, got {_kind(part)}")


def _kind(x: Any) -> str:
    name = type(x).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
