"""Building blocks of penalties: points to penalize at, and gradients there.

Samples may be pytrees, such as an image and its label. Only floating-point leaves are
interpolated and differentiated; the others are those of the real sample.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import jax
import jax.numpy as jnp

from wgan_jax.types import Array, PyTree, Scalar


class Penalty(Protocol):
    """A term of the critic's loss that depends on the critic as a function.

    Called with `critic`, which maps samples [batch, ...] to scores [batch], real and fake
    samples, and its own key. Weights may be traced values. An optional class variable
    `title` names the method in reports.
    """

    def __call__(
        self, critic: Callable[..., Array], real: PyTree, fake: PyTree, key: Array
    ) -> Scalar: ...


def interpolate(key: Array, real: PyTree, fake: PyTree) -> PyTree:
    """Return points on the segments from fake to real samples, uniform per sample.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> x = interpolate(jax.random.key(0), jnp.ones((5, 2)), jnp.zeros((5, 2)))
      >>> bool((x[:, 0] == x[:, 1]).all()), len(set(x[:, 0].tolist()))
      (True, 5)
    """
    t = jax.random.uniform(key, jax.tree.leaves(real)[0].shape[:1])

    def mix(x: Array, y: Array) -> Array:
        if not is_float(x):
            return x
        s = t.astype(x.dtype).reshape(-1, *(1,) * (x.ndim - 1))
        return s * x + (1 - s) * y

    return jax.tree.map(mix, real, fake)


def squared_gradient(critic: Callable[..., Array], x: PyTree) -> Array:
    """Return |grad f(x_i)|^2 per sample, [batch]; each score must depend only on its own sample.

    Raises:
      ValueError: no leaf of the samples is floating-point.

    Example:
      >>> import jax.numpy as jnp
      >>> squared_gradient(lambda x: 3 * x[:, 0] + 4 * x[:, 1], jnp.ones((2, 2))).tolist()
      [25.0, 25.0]
    """
    leaves, treedef = jax.tree.flatten(x)
    moving = [i for i, leaf in enumerate(leaves) if is_float(leaf)]
    if not moving:
        raise ValueError(
            "a gradient penalty differentiates with respect to the samples, which must be floats; "
            f"got {[str(leaf.dtype) for leaf in leaves]}: convert them, e.g. x.astype(jnp.float32)"
        )

    def total(points: list[Array]) -> Array:
        moved = dict(zip(moving, points, strict=True))
        merged = [moved.get(i, leaf) for i, leaf in enumerate(leaves)]
        return critic(jax.tree.unflatten(treedef, merged)).sum()

    slopes = jax.grad(total)([leaves[i] for i in moving])
    wide = [s.astype(jnp.float32) if s.dtype.itemsize < 4 else s for s in slopes]  # half overflows
    squares = [jnp.square(s).reshape(s.shape[0], -1).sum(1) for s in wide]
    return sum(squares[1:], squares[0])


def safe_sqrt(squared: Array) -> Array:
    """Return the square root, with derivative 0 instead of infinity at 0.

    Example:
      >>> import jax
      >>> jax.grad(safe_sqrt)(0.0).item()
      0.0
    """
    positive = squared > 0
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1)), 0)


def gradient_norm(critic: Callable[..., Array], x: PyTree) -> Array:
    """Return |grad f(x_i)| per sample, [batch], differentiable where it is zero.

    Example:
      >>> import jax.numpy as jnp
      >>> gradient_norm(lambda x: 3 * x[:, 0] + 4 * x[:, 1], jnp.ones((2, 2))).tolist()
      [5.0, 5.0]
    """
    return safe_sqrt(squared_gradient(critic, x))


def is_float(x: Array) -> bool:
    """Return whether `x` is a floating-point array, which can be differentiated.

    Example:
      >>> import jax.numpy as jnp
      >>> is_float(jnp.ones(2)), is_float(jnp.arange(2))
      (True, False)
    """
    return jnp.issubdtype(x.dtype, jnp.floating)


def check_not_negative(**values: float | Array) -> None:
    """Reject negative numbers; traced values are not checked.

    Raises:
      ValueError: names the first value that is negative or NaN.

    Example:
      >>> check_not_negative(weight=10.0, noise=-1.0)
      Traceback (most recent call last):
      ValueError: noise must not be negative, got -1.0
    """
    for name, value in values.items():
        if not isinstance(value, jax.core.Tracer) and not value >= 0:
            raise ValueError(f"{name} must not be negative, got {value}")
