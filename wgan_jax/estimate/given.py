"""Standardizes and checks a user-supplied critic, used in place of fitted cones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.estimate.cone_ascent import Rows
from wgan_jax.estimate.judge import SEEN, Fit
from wgan_jax.estimate.pair import BLOCK, Pair, draw, scores
from wgan_jax.loop import as_pytree
from wgan_jax.types import Array

_POINTS = 512  # of each distribution, at which slopes are measured
_STEP = 1e-2  # of finite differences, in standard deviations of the samples
_JITTER = (1e-6, 1e-5, 1e-4, 1e-3)  # steps over which rounding is measured
_EPSILON = float(np.finfo(np.float32).eps)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _Standardized:
    """A critic of samples [n, *shape] applied to standardized samples [n, d], times a factor."""

    critic: Any
    factor: Array
    center: Array
    scale: Array
    shape: tuple[int, ...] = dataclasses.field(metadata={"static": True})

    def __call__(self, z: Array) -> Array:
        x = (z * self.scale + self.center[None]).reshape(len(z), *self.shape)
        with jax.default_matmul_precision("highest"):
            return self.factor * self.critic(x).reshape(-1).astype(jnp.float32)


def given(pair: Pair, critic: Any, lipschitz: float | None) -> Fit:
    """Return the critic, 1-Lipschitz in standardized units, with the sign that scores q higher.

    It is evaluated at full float32 precision on every platform. `lipschitz` is accepted unless a
    difference of scores contradicts it; excess over tiny steps is treated as rounding.

    Raises:
      ValueError: no bound, or one that differences of scores exceed; a critic that is
        not scalar, or computes in less than float32.
    """
    if lipschitz is not None and not 0 < lipschitz < np.inf:
        raise ValueError(f"lipschitz must be positive and finite, got {lipschitz}")
    _check(_at_full_precision(critic), pair.shape)

    def standard(factor: float) -> _Standardized:
        scaled = as_pytree(critic), jnp.float32(factor / float(pair.scale))
        return _Standardized(*scaled, pair.center, pair.scale, pair.shape)

    seen = [
        np.asarray(s.x) if isinstance(s, Rows) else draw(s, key, BLOCK)
        for s, key in zip(pair.part(0, SEEN), pair.keys(0, 2), strict=True)
    ]
    subsets = [x[:_POINTS] for x in seen]
    if lipschitz is None:
        slope = _steepest(standard(1.0), subsets, rounding=0.0)
        raise ValueError(
            "a critic needs lipschitz=, a bound of its slopes by which its scores are divided: "
            f"differences of its scores show {slope:.4g} at least; lipschitz_bound(module, "
            "variables).value certifies one"
        )
    scaled_critic = standard(1 / lipschitz)
    rounding = _rounding(scaled_critic, np.concatenate(subsets))
    if _steepest(scaled_critic, subsets, rounding=rounding) > 1 + 1e-3:
        slope = lipschitz * _steepest(scaled_critic, subsets, rounding=0.0)
        raise ValueError(
            f"lipschitz={lipschitz:.6g} does not bound the critic: its score changes by "
            f"{slope:.6g} per unit of distance between two points; lipschitz_bound(module, "
            "variables).value certifies a bound"
        )
    low, high = (scores(scaled_critic, x).mean(dtype=np.float64) for x in seen)
    return Fit(scaled_critic if high >= low else standard(-1 / lipschitz), 0, True, [], rounding)


def _at_full_precision(critic: Callable[[Array], Array]) -> Callable[[Array], Array]:
    def precise(x: Array) -> Array:
        with jax.default_matmul_precision("highest"):
            return critic(x)

    return precise


def _check(critic: Callable[[Array], Array], shape: tuple[int, ...]) -> None:
    x = jax.ShapeDtypeStruct((8, *shape), jnp.float32)
    score = jax.eval_shape(critic, x)
    if getattr(score, "shape", None) not in ((8,), (8, 1)):
        raise ValueError(
            f"a critic maps samples (8, {', '.join(map(str, shape))}) to scores (8,) or "
            f"(8, 1), got {getattr(score, 'shape', type(score).__name__)}"
        )
    for equation in _equations(jax.make_jaxpr(critic)(x).jaxpr):
        types = {str(v.aval.dtype) for v in equation.outvars if hasattr(v.aval, "dtype")}
        half = sorted(t for t in types if _is_half(t))
        if half or not _is_precise(equation.params.get("precision")):
            what = half[0] if half else f"precision {equation.params['precision']}"
            raise ValueError(
                f"the critic computes in {what}, whose rounding causes slopes of any size: no "
                "bound can be certified; evaluate it in float32, for instance "
                'module.clone(dtype="float32")'
            )


def _equations(jaxpr: Any) -> Iterator[Any]:
    """Yield all equations of a jaxpr and of nested ones."""
    for equation in jaxpr.eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, list | tuple) else [value]:
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from _equations(inner)


def _is_half(dtype: str) -> bool:
    return (
        dtype == "bfloat16" or dtype.startswith("float8") or dtype in ("float16", "float4_e2m1fn")
    )


def _is_precise(precision: Any) -> bool:
    wanted = precision if isinstance(precision, tuple) else (precision,)
    return all(p in (None, jax.lax.Precision.HIGHEST, "highest", "float32") for p in wanted)


def _steepest(critic: Any, samples: list[np.ndarray], rounding: float) -> float:
    """The largest slope between samples, and over short steps along and across gradients."""
    x, y = samples
    z = np.concatenate(samples)
    slope = np.asarray(jax.jit(jax.grad(lambda z: critic(z).sum()))(z), np.float64)
    slope = np.nan_to_num(slope)  # where the gradient is undefined, steps across suffice
    size = np.linalg.norm(slope, axis=1, keepdims=True)
    r = np.random.default_rng(0)
    across = r.normal(size=z.shape)
    step = _STEP + 256 * _EPSILON * float(np.abs(z).max())
    n = min(len(x), len(y))
    pairs = [
        (z, z + step * slope / np.maximum(size, 1e-30)),
        (z, z + step * across / np.linalg.norm(across, axis=1, keepdims=True)),
        (x[:n], y[:n]),
        (z[1:], z[:-1]),
    ]
    steepest = 0.0
    for left, right in pairs:
        change, distance = _differences(critic, left, right)
        far = distance >= 0.9 * _STEP  # closer differences are dominated by rounding
        steepest = max(steepest, float(((change - rounding)[far] / distance[far]).max(initial=0)))
    return steepest


def _rounding(critic: Any, z: np.ndarray) -> float:
    """The largest excess of score changes over those of a 1-Lipschitz function, for tiny steps.

    A critic with rounding errors of up to e can change by 2 e where two points fall on either
    side of a rounding step, so the difference of two means is off by no more.
    """
    r, excess = np.random.default_rng(1), 0.0
    for step in _JITTER:
        offset = r.normal(size=z.shape)
        offset *= step / np.linalg.norm(offset, axis=1, keepdims=True)
        change, distance = _differences(critic, z, z + offset)
        excess = max(excess, float((change - distance).max()))
    return excess


def _differences(critic: Any, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Distances between scores, and between the points in float32."""
    x, y = x.astype(np.float32), y.astype(np.float32)
    f, g = (scores(critic, z).astype(np.float64) for z in (x, y))
    distance = np.linalg.norm(x.astype(np.float64) - y, axis=1)
    return np.abs(f - g), distance
