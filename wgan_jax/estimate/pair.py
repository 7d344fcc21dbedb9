"""Two distributions in standardized units, as arrays or samplers."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.estimate.cone_ascent import Rows, Standardized
from wgan_jax.estimate.samples import Samples, as_numbers, as_samples, notes_on, require_numbers
from wgan_jax.loop import as_pytree, shuffle_rows
from wgan_jax.types import Array

Source = Any
BLOCK = 4096
_FEWEST = 8


def draw(sampler: Any, key: Array, n: int) -> np.ndarray:
    """Draw samples [n, d] in blocks of one size, so that all draws share one program.

    The last block may be truncated, so rows are shuffled within blocks: a sampler's own order
    may be sorted, such as the halves of a balanced mixture.
    """
    keys = [jax.random.fold_in(key, block) for block in range(-(-n // BLOCK))]
    return np.concatenate([np.asarray(draw_block(sampler, key)) for key in keys])[:n]


@jax.jit
def draw_block(sampler: Any, key: Array) -> Array:
    on_samples, on_order = jax.random.split(key)
    return shuffle_rows(on_order, sampler(on_samples, BLOCK))


def scores(critic: Any, x: np.ndarray | Array) -> np.ndarray:
    """Compute scores [n] of samples [n, d], in blocks of few sizes to compile few programs."""
    scored = []
    for start in range(0, len(x), BLOCK):
        part = np.asarray(x[start : start + BLOCK])
        padded = np.zeros((1 << (len(part) - 1).bit_length(), x.shape[1]), np.float32)
        padded[: len(part)] = part
        scored.append(np.asarray(score_block(critic, padded))[: len(part)])
    return np.concatenate(scored)


@jax.jit
def score_block(critic: Any, x: Array) -> Array:
    return critic(x)


class Pair(NamedTuple):
    """Both distributions in standardized units, keys by purpose, and `notes` on the samples."""

    p: Any
    q: Any
    center: Array
    scale: Array
    sizes: tuple[float, float]
    shape: tuple[int, ...]
    key: Array
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, p: Source, q: Source, key: Array, diameter: float | None = None) -> Pair:
        peek, order, rest = jax.random.split(key, 3)
        samples = [
            Samples(_peek(source, name, subkey)) if callable(source) else _checked(source, name)
            for source, name, subkey in zip((p, q), "pq", jax.random.split(peek), strict=True)
        ]
        draws = [side.x for side in samples]
        if draws[0].shape[1:] != draws[1].shape[1:]:
            raise ValueError(
                f"samples of p and q must match in shape, got {draws[0].shape} and {draws[1].shape}"
            )
        _check_columns(*samples)
        flat = [x.reshape(len(x), -1).astype(np.float64) for x in draws]
        if diameter is not None:
            check_diameter(diameter, flat)
        center = (flat[0].mean(0) + flat[1].mean(0)) / 2
        one = flat[0][0]  # where all values are equal, as their mean may be off by rounding
        center = np.where((flat[0] == one).all(0) & (flat[1] == one).all(0), one, center)
        with np.errstate(over="ignore"):
            variance = sum(((x - center) ** 2).mean() for x in flat) / 2
        scale = float(variance) ** 0.5 or 1.0
        if not 1e-30 < scale < 1e30:
            raise ValueError(f"samples of scale {scale:.3g} are beyond float32; rescale p and q")
        sides: list[Any] = []
        for source, x, subkey in zip((p, q), flat, jax.random.split(order), strict=True):
            if callable(source):
                middle = jnp.asarray(center[None], jnp.float32)
                sides.append(Standardized(as_pytree(source), middle, jnp.float32(scale)))
            else:
                shuffled = x[np.asarray(jax.random.permutation(subkey, len(x)))]
                sides.append(((shuffled - center) / scale).astype(np.float32))
        sizes = [np.inf if callable(s) else len(s) for s in sides]
        center = jnp.asarray(center, jnp.float32)
        shape = draws[0].shape[1:]
        both, notes = (sizes[0], sizes[1]), notes_on(*samples)
        return cls(sides[0], sides[1], center, jnp.float32(scale), both, shape, rest, notes)

    def keys(self, purpose: int, n: int) -> Array:
        return jax.random.split(jax.random.fold_in(self.key, purpose), n)

    def part(self, start: float, stop: float) -> list[Any]:
        """Both distributions, with arrays restricted to a range of their rows."""

        def rows(x: np.ndarray) -> Rows:
            return Rows(jnp.asarray(x[int(start * len(x)) : int(stop * len(x))]))

        return [s if callable(s) else rows(s) for s in (self.p, self.q)]


def _peek(source: Source, name: str, key: Array) -> np.ndarray:
    """Draw and check a first block of a sampler."""

    def shape(key: Array) -> Any:
        x = source(key, BLOCK)
        return x if isinstance(x, jax.core.Tracer) else None

    try:
        struct = jax.eval_shape(shape, key)
    except jax.errors.JAXTypeError as error:
        what = str(error).splitlines()[0]
        raise ValueError(f"the sampler {name} cannot be traced by JAX: {what}") from error
    if struct is None:
        raise ValueError(
            f"the sampler {name} must return one array computed by JAX: values computed outside "
            "JAX would be drawn once and repeated at every call"
        )
    _check_samples(struct, name)
    require_numbers(struct, name)
    if struct.shape[0] != BLOCK:
        raise ValueError(f"asked for {BLOCK} samples, the sampler {name} gave {struct.shape}")
    center = jnp.zeros((1, math.prod(struct.shape[1:])))
    sampler = Standardized(as_pytree(source), center, jnp.float32(1))
    x = draw(sampler, key, BLOCK)
    if _ignores_its_key(sampler, key) and len(np.unique(x, axis=0)) > BLOCK // 2:
        raise ValueError(
            f"the sampler {name} returns the same {BLOCK} samples for every key, which would count "
            "as fresh ones; draw with its key, or give the samples themselves as an array"
        )
    return _finite(x.reshape(struct.shape), name)


def _ignores_its_key(sampler: Any, key: Array) -> bool:
    """Whether three keys give equal rows in equal order, as draws of few values at most do."""
    first, *others = (_in_own_order(sampler, jax.random.fold_in(key, i)) for i in range(3))
    return all(np.array_equal(first, x, equal_nan=True) for x in others)


@jax.jit
def _in_own_order(sampler: Any, key: Array) -> Array:
    return sampler(key, BLOCK)


def check_diameter(diameter: float, samples: list[np.ndarray], scale: float = 1.0) -> None:
    """Reject a diameter that samples [n, d] exceed; `scale` converts both to their own unit."""
    first = samples[0][:1]
    observed = max(float(np.linalg.norm(x - first, axis=1).max()) for x in samples)
    if not diameter >= observed * (1 - 1e-5):
        raise ValueError(
            f"diameter must bound the distance between samples, got {diameter * scale:.6g} "
            f"where samples are {observed * scale:.6g} apart"
        )


def _checked(source: Source, name: str) -> Samples:
    samples = as_samples(source, name)
    _check_samples(samples.x, name)
    return samples._replace(x=_finite(as_numbers(samples.x, name), name, samples.columns))


def _check_columns(p: Samples, q: Samples) -> None:
    if p.columns and q.columns and p.columns != q.columns:
        differ = [i for i, (a, b) in enumerate(zip(p.columns, q.columns, strict=True)) if a != b]
        raise ValueError(
            f"p and q must have the same columns in the same order, got {p.columns[differ[0]]!r} "
            f"and {q.columns[differ[0]]!r} as column {differ[0]}"
        )


def _check_samples(x: Any, name: str) -> None:
    if x.ndim < 1 or x.shape[0] < _FEWEST or math.prod(x.shape) == 0:
        raise ValueError(f"{name} needs at least {_FEWEST} samples [n, ...], got shape {x.shape}")


def _finite(x: np.ndarray, name: str, columns: tuple[str, ...] = ()) -> np.ndarray:
    bad = ~np.isfinite(x)
    if bad.any():
        names = [repr(c) for i, c in enumerate(columns) if bad[:, i].any()]
        where = f" (in {', '.join(names[:3])}{', ...' if len(names) > 3 else ''})" if names else ""
        raise ValueError(
            f"{name} of shape {x.shape} has {bad.sum()} values that are not finite{where}; "
            "drop their rows, or fill in missing values"
        )
    return x
