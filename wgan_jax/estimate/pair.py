"""Two laws in standard units, as arrays or as samplers."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.estimate.cone_ascent import Rows, Standardized
from wgan_jax.loop import as_pytree
from wgan_jax.types import Array

Source = Any


class Pair(NamedTuple):
    """Both laws in standard units, and fresh keys by purpose."""

    p: Any
    q: Any
    center: Array
    scale: Array
    sizes: tuple[float, float]
    shape: tuple[int, ...]
    key: Array

    @classmethod
    def of(cls, p: Source, q: Source, key: Array) -> Pair:
        peek, order, rest = jax.random.split(key, 3)
        draws = []
        for source, name, one in zip((p, q), "pq", jax.random.split(peek), strict=True):
            draws.append(_checked(source(one, 4096) if callable(source) else source, name))
        if draws[0].shape[1:] != draws[1].shape[1:]:
            raise ValueError(
                f"samples of p and q must have one shape, got {draws[0].shape} and {draws[1].shape}"
            )
        flat = [x.reshape(len(x), -1).astype(np.float64) for x in draws]
        center = (flat[0].mean(0) + flat[1].mean(0)) / 2
        spread = sum(((x - center) ** 2).mean() for x in flat) / 2
        scale = float(spread) ** 0.5 or 1.0
        sides: list[Any] = []
        for source, x, one in zip((p, q), flat, jax.random.split(order), strict=True):
            if callable(source):
                middle = jnp.asarray(center[None], jnp.float32)
                sides.append(Standardized(as_pytree(source), middle, jnp.float32(scale)))
            else:
                shuffled = x[np.asarray(jax.random.permutation(one, len(x)))]
                sides.append(((shuffled - center) / scale).astype(np.float32))
        sizes = [np.inf if callable(s) else len(s) for s in sides]
        center = jnp.asarray(center, jnp.float32)
        shape = draws[0].shape[1:]
        return cls(
            sides[0], sides[1], center, jnp.float32(scale), (sizes[0], sizes[1]), shape, rest
        )

    def keys(self, purpose: int, n: int) -> Array:
        return jax.random.split(jax.random.fold_in(self.key, purpose), n)

    def part(self, start: float, stop: float) -> list[Any]:
        """Both laws, restricted to a part of the rows where they are arrays."""

        def rows(x: np.ndarray) -> Rows:
            return Rows(jnp.asarray(x[int(start * len(x)) : int(stop * len(x))]))

        return [s if callable(s) else rows(s) for s in (self.p, self.q)]


def _checked(x: Any, name: str) -> np.ndarray:
    x = np.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"{name} must hold floating-point samples, got {x.dtype} of shape {x.shape}; "
            "convert and scale it first"
        )
    if x.ndim < 1 or len(x) < 8 or x.size == 0:
        raise ValueError(f"{name} needs at least 8 samples [n, ...], got shape {x.shape}")
    bad = np.count_nonzero(~np.isfinite(x))
    if bad:
        raise ValueError(f"{name} of shape {x.shape} has {bad} values that are not finite")
    return x
