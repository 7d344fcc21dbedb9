"""Annealed ascent for the largest mean difference of a minimum of cones.

    max over a, b of  E_q f - E_p f,   f(x) = sign * min_j |sign x - a_j| + b_j

The minimum is smoothed at a temperature that falls geometrically from the scale at
which cones compete to one far below it. Cells form one after the other as it cools,
which a cold start misses in high dimension.
"""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

from wgan_jax.distances.exact import transport_potentials
from wgan_jax.networks.cones import cone_heights, expanded_heights, min_of_cones, soft_min
from wgan_jax.types import Array

_adam = optax.scale_by_adam(b1=0.5)
_FEW_COLUMNS = 8
_AWAY = 1e30  # offset of a removed cone, which is lowest nowhere


class ConeParams(NamedTuple):
    """f(x) = sign * min(cap, min_j |x - centers_j| + offsets_j), 1-Lipschitz.

    Attributes:
      centers: [k, d].
      offsets: [k].
      sign: a scalar: 1, or -1 for a maximum of downward cones.
      cap: a scalar, infinite if there is no cap.
    """

    centers: Array
    offsets: Array
    sign: Array
    cap: Array

    def __call__(self, x: Array) -> Array:
        lowest = _min_one_by_one if x.shape[1] <= _FEW_COLUMNS else min_of_cones
        return self.sign * jnp.minimum(lowest(x, self.centers, self.offsets), self.cap)

    def quick(self, x: Array) -> Array:
        """The score with larger rounding near centers, accurate enough to compare cones."""
        if x.shape[1] <= _FEW_COLUMNS:
            return self(x)
        heights = expanded_heights(x, lax.stop_gradient(self.centers), self.offsets)
        return self.sign * jnp.minimum(heights.min(1), self.cap)


def _min_one_by_one(x: Array, centers: Array, offsets: Array) -> Array:
    """`min_of_cones` of points with few columns, faster without heights [n, k] in memory."""

    def lower(lowest: Array, cone: tuple[Array, Array]) -> tuple[Array, None]:
        center, offset = cone
        return jnp.minimum(lowest, cone_heights(x, center[None], offset[None])[:, 0]), None

    start = jnp.full(len(x), jnp.inf, x.dtype)
    return lax.scan(lower, start, (centers, offsets), unroll=8)[0]


def lowest_cone(cones: ConeParams, x: Array) -> Array:
    """The index [n] of the cone that is lowest at each point [n, d]."""
    if x.shape[1] > _FEW_COLUMNS:
        return expanded_heights(x, cones.centers, cones.offsets).argmin(1).astype(jnp.int32)

    def lower(best: tuple[Array, Array], cone: Any) -> tuple[tuple[Array, Array], None]:
        (lowest, at), (center, offset, i) = best, cone
        height = cone_heights(x, center[None], offset[None])[:, 0]
        return (jnp.minimum(lowest, height), jnp.where(height < lowest, i, at)), None

    start = jnp.full(len(x), jnp.inf, x.dtype), jnp.zeros(len(x), jnp.int32)
    count = jnp.arange(len(cones.offsets), dtype=jnp.int32)
    return lax.scan(lower, start, (cones.centers, cones.offsets, count), unroll=8)[0][1]


@jax.jit
def worth(cones: ConeParams, x: Array, y: Array) -> Array:
    """Loss [k] of the mean difference of samples x ~ p and y ~ q without each cone."""

    def rise(z: Array) -> Array:
        heights = expanded_heights(z, cones.centers, cones.offsets)
        lowest, at = lax.top_k(-heights, 2)
        above = lowest[:, 0] - lowest[:, 1]
        return jax.ops.segment_sum(above, at[:, 0], len(cones.offsets)) / len(z)

    return cones.sign * (rise(x) - rise(y))


def keep_best(cones: ConeParams, worth: np.ndarray, n: int) -> ConeParams:
    """Keep the n cones that are worth most; the others are moved away, so shapes do not change."""
    offsets = np.array(cones.offsets)
    worth = np.where(offsets < _AWAY, worth, -np.inf)
    offsets[np.argsort(-worth, kind="stable")[n:]] = _AWAY
    return cones._replace(offsets=jnp.asarray(offsets))


class Start(NamedTuple):
    """The start of an ascent, and its temperature in units of the gap of the lowest two cones."""

    cones: ConeParams
    warmth: float


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Rows:
    """An array as a sampler: n of its rows, drawn with replacement, or all if it has no more."""

    x: Array

    def __call__(self, key: Array, n: int) -> Array:
        if n >= self.x.shape[0]:
            return self.x
        return self.x[jax.random.randint(key, (n,), 0, self.x.shape[0])]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Standardized:
    """A sampler, flattened and standardized: (x - center) / scale, [n, d]."""

    sampler: Any
    center: Array
    scale: Array

    def __call__(self, key: Array, n: int) -> Array:
        x = self.sampler(key, n).astype(jnp.float32)
        return (x.reshape(x.shape[0], -1) - self.center) / self.scale


def starts(x: np.ndarray, y: np.ndarray, step: np.ndarray) -> list[Start]:
    """Starts of an ascent from samples x ~ p and y ~ q, [k, d] each, of unit scale.

    `step` [d] goes from the mean of p to that of q, best estimated from more than k samples.

    - cones at samples of p, upward, or of q, downward. In high dimension they are
      contracted toward the mean, where each one still sees most of the data;
    - cones far behind p, which form a nearly linear function;
    - the exact potentials of the two clouds, which are minima of cones.
    """
    (k, d), one = x.shape, jnp.ones(())
    contraction = min(1.0, (12 / d) ** 0.5)

    def contracted(z: np.ndarray, sign: Any) -> ConeParams:
        mean = z.mean(0)
        return _cones(mean + contraction * (z - mean), np.zeros(k), sign)

    direction = step / max(np.linalg.norm(step), 1e-30)
    behind = x.mean(0) + contraction * (x - x.mean(0)) - 30 * d**0.5 * direction
    _, phi, psi = transport_potentials(x, y)
    return [
        Start(contracted(x, one), 1.2),
        Start(contracted(y, -one), 1.2),
        Start(_cones(behind, np.zeros(k), one), 0.3),
        Start(_cones(x, -phi, one), 0.3),
        Start(_cones(y, -psi, -one), 0.3),
    ]


def _cones(centers: np.ndarray, offsets: np.ndarray, sign: Array) -> ConeParams:
    leaves = centers, offsets, sign, np.inf
    return ConeParams(*(jnp.asarray(leaf, jnp.float32) for leaf in leaves))


@jax.jit
def gap(cones: ConeParams, x: Array) -> Array:
    """The mean distance between the lowest two cones over points [n, d]."""
    heights = expanded_heights(x, cones.centers, cones.offsets)
    lowest = -lax.top_k(-heights, min(2, len(cones.offsets)))[0]
    return (lowest[:, -1] - lowest[:, 0]).mean()


class Ascent(NamedTuple):
    """The state of an ascent."""

    cones: ConeParams
    moments: Any
    step: Array


@jax.jit
def begin(cones: ConeParams) -> Ascent:
    return Ascent(cones, _adam.init(cones), jnp.zeros((), jnp.int32))


class Schedule(NamedTuple):
    """A temperature and learning rate schedule; traced, so all schedules share one program.

    Attributes:
      hot: temperature at the start, in units of distance.
      cold: temperature at the end.
      rate: learning rate of Adam at the start, with cosine decay to a fiftieth.
      steps: length of the schedule.
    """

    hot: Array
    cold: Array
    rate: Array
    steps: Array


def schedule(gap: float, warmth: float, steps: int) -> Schedule:
    hot = max(warmth * gap, 1e-6)
    cold = max(min(0.05 * gap, hot), 1e-6)
    rate = min(0.02, 0.2 * gap)
    return Schedule(*(jnp.asarray(v, jnp.float32) for v in (hot, cold, max(rate, 1e-5), steps)))


@partial(jax.jit, static_argnames=("length", "batch_size"))
def ascend(
    ascent: Ascent, plan: Schedule, p: Any, q: Any, key: Array, *, length: int, batch_size: int
) -> Ascent:
    """Take `length` steps of Adam on fresh batches of the samplers p and q."""

    def update(ascent: Ascent, _: None) -> tuple[Ascent, None]:
        for_p, for_q = jax.random.split(jax.random.fold_in(key, ascent.step))
        x, y = p(for_p, batch_size), q(for_q, batch_size)
        done = jnp.minimum(ascent.step.astype(jnp.float32) / plan.steps, 1)
        temperature = plan.hot * (plan.cold / plan.hot) ** done
        rate = plan.rate * (0.02 + 0.98 * (1 + jnp.cos(jnp.pi * done)) / 2)
        sign = ascent.cones.sign

        def loss(cones: ConeParams) -> Array:
            def f(x: Array) -> Array:
                heights = expanded_heights(x, cones.centers, cones.offsets)
                return soft_min(heights, temperature).mean()

            return sign * (f(x) - f(y))

        slope = jax.grad(loss)(ascent.cones)._replace(sign=jnp.zeros_like(sign))  # loss has no cap
        with jax.numpy_dtype_promotion("standard"):  # optax raises a float to an integer power
            updates, moments = _adam.update(slope, ascent.moments)
        cones = jax.tree.map(lambda w, u: w - rate * u, ascent.cones, updates)
        return Ascent(cones._replace(sign=sign), moments, ascent.step + 1), None

    return lax.scan(update, ascent, length=length)[0]
