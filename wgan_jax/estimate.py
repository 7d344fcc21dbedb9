"""W1 between two laws, with bounds that hold.

    E_q f - E_p f  <=  W1(p, q)  <=  E W1(p_n, q_n)      for every 1-Lipschitz f

The left side is a critic's score on samples that it was not fitted to; the
right side is exact transport between samples. Both come with margins.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax import cone_fit
from wgan_jax.cone_fit import Rows, Standardized
from wgan_jax.distances.exact import exact_w1, transport_potentials
from wgan_jax.keys import typed
from wgan_jax.loop import as_pytree
from wgan_jax.margins import held_out_difference, student_margin
from wgan_jax.types import Array

Source = Any
_CHUNKS = 10
_FIT, _SEEN = 0.4, 0.5
_HELD_OUT_CHUNK = 4096


class W1Estimate(NamedTuple):
    """An estimate of W1, in the units of the samples.

    Attributes:
      value: the best estimate inside the bounds.
      lower: W1 is not below this, at the stated confidence.
      upper: W1 is not above this; both hold together at the stated confidence.
      confidence: the probability that both bounds hold.
      lipschitz: certified Lipschitz bound of the critic, by which its score was divided.
      dual: the critic's mean difference on held-out samples, without the margin.
      transport: mean exact W1 between samples of `transport_size` points.
      floor: mean exact W1 between samples of one law, at half that size.
      transport_size: points in each of those samples.
      n_p: held-out samples of p behind `lower`.
      n_q: held-out samples of q behind `lower`.
      steps: of the critic's ascent.
      converged: the critic passed the plateau test; if not, `lower` may be
        loose (it holds all the same) and more `steps` may help.
      history: (step, validation score) pairs, in the units of the samples.
      critic: the 1-Lipschitz critic x[n, ...] -> scores [n] behind `lower`.
    """

    value: float
    lower: float
    upper: float
    confidence: float
    lipschitz: float
    dual: float
    transport: float
    floor: float
    transport_size: int
    n_p: int
    n_q: int
    steps: int
    converged: bool
    history: tuple[tuple[int, float], ...]
    critic: Callable[[Array], Array]


def estimate_w1(
    p: Source,
    q: Source,
    *,
    key: Array,
    critic: Callable[[Array], Array] | None = None,
    lipschitz: float = 1.0,
    confidence: float = 0.95,
    steps: int | None = None,
    cones: int | None = None,
    batch_size: int | None = None,
    held_out: int = 524_288,
    transport_size: int = 1024,
    transports: int = 8,
    progress: bool = False,
) -> W1Estimate:
    """Estimate W1 of two laws from arrays or samplers, with a lower and an upper bound.

    `lower` is a Kantorovich-Rubinstein score. A minimum of cones, 1-Lipschitz
    whatever its weights, is fitted on one half of the samples, clipped to the
    range it has there (still 1-Lipschitz), and scored on the other half. Its
    margin is the empirical Bernstein bound: it assumes independent samples and
    nothing else, and holds for every number of samples.

    `upper` is exact transport between samples, whose expectation is never below
    W1. With at least four batches its margin is Student's t over batches; for
    one array it is a t quantile of the standard error of the transport
    potentials. It assumes that exact transport between samples is close to
    normal, with finite second moments. In high dimension `upper` is loose: it
    exceeds W1 by about `floor`.

    `value` is the larger of the held-out score and of transport less its
    floor, both of which tend to be below W1, kept inside the bounds.

    Args:
      p: samples [n, ...], floating point; or a sampler `(key, n) -> x[n, ...]`
        that JAX can trace, which gives fresh samples without limit. Rows of an
        array are taken as independent draws, and W1 is that of the laws that
        they were drawn from.
      q: likewise, with samples of the same shape.
      key: a typed key.
      critic: a critic x[n, ...] -> scores [n] or [n, 1] to use as it is, for
        instance that of a GAN at inference, in place of fitting cones. It must not
        have seen the held-out half of the samples.
      lipschitz: a certified bound of `critic`, from `lipschitz_bound`, by which
        its scores are divided.
      confidence: that lower <= W1 <= upper, half of the risk for each.
      steps: of the critic's ascent; up to twice as many until it has converged.
        By default 1,000, and 1,500 above 32 dimensions.
      cones: in the critic; no more than the samples it is fitted on. By default
        1,024, and 512 above 32 dimensions.
      batch_size: of the ascent. By default 1,024, and 4,096 above 32 dimensions.
      held_out: samples of each law behind `lower`, for samplers.
      transport_size: points of one exact transport.
      transports: how many, where there are samples enough.
      progress: show a progress bar.

    Returns:
      A `W1Estimate` of Python numbers.

    Raises:
      ValueError: values that are not finite, fewer than 8 samples, samples of
        different shapes, integer arrays, a critic that is not scalar, or
        settings out of range.

    Example:
      >>> import jax
      >>> x = jax.random.normal(jax.random.key(0), (500, 2))
      >>> y = 3.0 + jax.random.normal(jax.random.key(1), (500, 2))
      >>> w1 = estimate_w1(x, y, key=jax.random.key(2), steps=50, cones=64)
      >>> w1.lower < 3 * 2**0.5 < w1.upper
      True

    References:
      Villani, Optimal Transport, Old and New, 2009, theorem 5.10 (duality);
      Maurer and Pontil, 2009 (the margin of `lower`); del Barrio and Loubes,
      Central limit theorems for empirical transportation cost in general
      dimension, 2019 (the margin of `upper`).
    """
    pair = _Pair.of(p, q, typed(key))
    low_dimension = pair.center.shape[0] <= 32
    steps = (1000 if low_dimension else 1500) if steps is None else steps
    cones = (1024 if low_dimension else 512) if cones is None else cones
    batch_size = (1024 if low_dimension else 4096) if batch_size is None else batch_size
    _check_settings(confidence, steps, cones, held_out, transport_size, transports, batch_size)
    alpha = (1 - confidence) / 2
    if critic is None:
        fit = _fit(pair, steps, cones, batch_size, progress)
    else:
        fit = _given(pair, critic, lipschitz)
    dual, margin, sizes = _score(pair, fit.critic, held_out, alpha)
    transport, upper, floor, debiased = _transport(pair, transport_size, transports, alpha)
    lower = min(max(dual - margin, 0.0), upper)
    value = min(max(dual, debiased, lower), upper)
    scale = float(pair.scale)
    return W1Estimate(
        value=value * scale,
        lower=lower * scale,
        upper=upper * scale,
        confidence=confidence,
        lipschitz=1.0 if critic is None else float(lipschitz),
        dual=dual * scale,
        transport=transport * scale,
        floor=floor * scale,
        transport_size=int(min(transport_size, *pair.sizes)),
        n_p=sizes[0],
        n_q=sizes[1],
        steps=fit.steps,
        converged=fit.converged,
        history=tuple((step, score * scale) for step, score in fit.history),
        critic=_in_units(fit.critic, pair.center, pair.scale),
    )


class _Pair(NamedTuple):
    """Both laws in standard units, and fresh keys by purpose."""

    p: Any
    q: Any
    center: Array
    scale: Array
    sizes: tuple[float, float]
    shape: tuple[int, ...]
    key: Array

    @classmethod
    def of(cls, p: Source, q: Source, key: Array) -> _Pair:
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


def _check_settings(confidence: float, *counts: int) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    names = ("steps", "cones", "held_out", "transport_size", "transports", "batch_size")
    least = (_CHUNKS, 2, 8, 8, 1, 1)
    for name, count, at_least in zip(names, counts, least, strict=True):
        if count < at_least:
            raise ValueError(f"{name} must be at least {at_least}, got {count}")


class _Fit(NamedTuple):
    critic: Any
    steps: int
    converged: bool
    history: list[tuple[int, float]]


def _fit(pair: _Pair, steps: int, cones: int, batch_size: int, progress: bool) -> _Fit:
    """Try every start for a tenth of the steps, then follow the best to the end."""
    p, q = pair.part(0, _FIT)
    at_start, at_pilot, at_ascent, at_validation = pair.keys(0, 4)
    k = int(min([cones, *(len(s.x) for s in (p, q) if isinstance(s, Rows))]))
    first, second, third, fourth = jax.random.split(at_start, 4)
    x, y = (_distinct(s, one, k) for s, one in ((p, first), (q, second)))
    batch = min(batch_size, 4 * k) if isinstance(p, Rows) or isinstance(q, Rows) else batch_size
    seen = q(third, 2048), p(fourth, 2048)
    for_p, for_q = jax.random.split(at_validation)
    validation_p, validation_q = (
        s.x if isinstance(s, Rows) else s(one, 16384)
        for s, one in zip(pair.part(_FIT, _SEEN), (for_p, for_q), strict=True)
    )

    def score(critic: Any) -> float:
        return float(_mean(critic, validation_q) - _mean(critic, validation_p))

    length = -(-steps // _CHUNKS)
    best: list[Any] = [-np.inf, None]
    trials = []
    for start, one in zip(cone_fit.starts(x, y), jax.random.split(at_pilot, 5), strict=True):
        plan = cone_fit.schedule(
            float(cone_fit.gap(start.cones, jnp.concatenate(seen))), start.warmth, length
        )
        ascent = cone_fit.ascend(
            cone_fit.begin(start.cones), plan, p, q, one, length=length, batch_size=batch
        )
        reached = score(ascent.cones)
        for critic, value in ((start.cones, score(start.cones)), (ascent.cones, reached)):
            if value > best[0]:
                best = [value, critic]
        trials.append((reached, start, plan))
    _, start, plan = max(trials, key=lambda trial: trial[0])
    plan = plan._replace(steps=jnp.float32(length * _CHUNKS))
    ascent = cone_fit.begin(start.cones)
    history: list[tuple[int, float]] = []
    converged = False
    with _bar(progress, steps) as bar:
        for chunk in range(2 * _CHUNKS):
            ascent = cone_fit.ascend(ascent, plan, p, q, at_ascent, length=length, batch_size=batch)
            value = score(ascent.cones)
            history.append(((chunk + 1) * length, value))
            if value > best[0]:
                best = [value, ascent.cones]
            bar(length, value * float(pair.scale))
            converged = chunk + 1 >= _CHUNKS and _plateau([v for _, v in history])
            if converged:
                break
    return _Fit(best[1], history[-1][0], converged, history)


def _given(pair: _Pair, critic: Callable[[Array], Array], lipschitz: float) -> _Fit:
    """A critic of the user's, 1-Lipschitz in standard units, turned so that it is higher on q."""
    if not 0 < lipschitz < np.inf:
        raise ValueError(f"lipschitz must be positive and finite, got {lipschitz}")
    scores = jax.eval_shape(critic, jax.ShapeDtypeStruct((8, *pair.shape), jnp.float32))
    if getattr(scores, "shape", None) not in ((8,), (8, 1)):
        raise ValueError(
            f"a critic maps samples (8, {', '.join(map(str, pair.shape))}) to scores (8,) or "
            f"(8, 1), got {getattr(scores, 'shape', type(scores).__name__)}"
        )

    def standard(sign: float, z: Array) -> Array:
        x = (z * pair.scale + pair.center[None]).reshape(len(z), *pair.shape)
        return sign * critic(x).reshape(-1).astype(jnp.float32) / (lipschitz * pair.scale)

    seen = [
        s.x if isinstance(s, Rows) else s(one, 4096)
        for s, one in zip(pair.part(0, _SEEN), pair.keys(0, 2), strict=True)
    ]
    rises = standard(1.0, seen[1]).mean() >= standard(1.0, seen[0]).mean()
    return _Fit(jax.tree_util.Partial(partial(standard, 1.0 if rises else -1.0)), 0, True, [])


def _plateau(scores: list[float]) -> bool:
    """The last two chunks of steps gained less than half a percent together."""
    return max(scores[-2:]) - max(scores[:-2]) <= 0.005 * abs(scores[-1])


def _distinct(sampler: Any, key: Array, k: int) -> np.ndarray:
    x = sampler.x[:k] if isinstance(sampler, Rows) else sampler(key, k)
    return np.asarray(x)


@jax.jit
def _scores(critic: Any, x: Array) -> Array:
    return critic(x)


@jax.jit
def _mean(critic: Any, x: Array) -> Array:
    return critic(x).mean()


def _score(
    pair: _Pair, critic: Any, held_out: int, alpha: float
) -> tuple[float, float, tuple[int, int]]:
    """The clipped critic's mean difference on unseen samples, its margin, and their numbers."""
    fitted, fresh = pair.part(0, _SEEN), pair.keys(1, 2)
    seen = []
    for sampler, one in zip(fitted, pair.keys(2, 2), strict=True):
        x = sampler.x if isinstance(sampler, Rows) else sampler(one, 8192)
        seen.append(np.asarray(_scores(critic, x)))
    scores = []
    for side, one in zip(pair[:2], fresh, strict=True):
        if callable(side):
            chunks = jax.random.split(one, -(-held_out // _HELD_OUT_CHUNK))
            size = min(held_out, _HELD_OUT_CHUNK)
            values = [_fresh_scores(critic, side, chunk, size) for chunk in chunks]
            f = np.concatenate([np.asarray(v) for v in values])
        else:
            f = np.asarray(_scores(critic, jnp.asarray(side[len(side) // 2 :])))
        if not np.isfinite(f).all():
            raise ValueError("a sampler gave values that are not finite")
        scores.append(f)
    dual, margin = held_out_difference(scores[1], scores[0], np.concatenate(seen), alpha)
    return dual, margin, (len(scores[0]), len(scores[1]))


@partial(jax.jit, static_argnames="n")
def _fresh_scores(critic: Any, sampler: Any, key: Array, n: int) -> Array:
    return critic(sampler(key, n))


def _transport(
    pair: _Pair, size: int, transports: int, alpha: float
) -> tuple[float, float, float, float]:
    """Mean exact W1 between samples, the upper bound, the floor, and W1 less the floor."""
    available = min(pair.sizes)
    n = int(min(size, available))
    batches = int(min(transports, available // n))
    keys = pair.keys(3, 4)

    def clouds(side: Any, n: int, count: int, key: Array) -> list[np.ndarray]:
        if callable(side):
            return [np.asarray(side(one, n)) for one in jax.random.split(key, count)]
        return [side[start * n : (start + 1) * n] for start in range(count)]

    xs, ys = clouds(pair.p, n, batches, keys[0]), clouds(pair.q, n, batches, keys[1])
    if batches >= 4:
        w = np.array([exact_w1(x, y) for x, y in zip(xs, ys, strict=True)])
        transport, error = float(w.mean()), float(w.std(ddof=1)) / batches**0.5
        upper = transport + student_margin(error, batches - 1, alpha)
    else:
        transport, phi, psi = transport_potentials(xs[0], ys[0])
        error = float((np.var(phi, ddof=1) + np.var(psi, ddof=1)) / n) ** 0.5
        upper = transport + student_margin(error, n - 1, alpha)
    half = n // 2
    x1, x2 = clouds(pair.p, half, 2, keys[2])
    y1, y2 = clouds(pair.q, half, 2, keys[3])
    floor = (exact_w1(x1, x2) + exact_w1(y1, y2)) / 2
    debiased = (exact_w1(x1, y1) + exact_w1(x2, y2)) / 2 - floor
    return transport, upper, floor, debiased


def _in_units(cones: Any, center: Array, scale: Array) -> Callable[[Array], Array]:
    """The critic in the units of the samples."""

    def critic(x: Array) -> Array:
        return scale * cones((x.reshape(x.shape[0], -1) - center[None]) / scale)

    return critic


@contextlib.contextmanager
def _bar(progress: bool, steps: int):
    if not progress:
        yield lambda done, value: None
        return
    from tqdm import tqdm

    with tqdm(total=steps, unit="step") as bar:

        def update(done: int, value: float) -> None:
            bar.update(done)
            bar.set_postfix_str(f"validation {value:.4g}")

        yield update
