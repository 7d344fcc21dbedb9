"""W1 between two laws, with bounds that hold.

    E_q f - E_p f  <=  W1(p, q)  <=  E W1(p_n, q_n)      for every 1-Lipschitz f

The left side is a critic's score on samples that it was not fitted to; the
right side is exact transport between samples. Both come with margins.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from wgan_jax.estimate.bounds import dual_score, transport_between_samples
from wgan_jax.estimate.coupled import are_alike, coupled_upper
from wgan_jax.estimate.fit import CHUNKS, Progress, fit_cones
from wgan_jax.estimate.given import given
from wgan_jax.estimate.pair import Pair, Source
from wgan_jax.estimate.quantised import LARGEST_DIM, Quantised
from wgan_jax.keys import typed
from wgan_jax.types import Array

_MOST_WORK = 1 << 34  # draws times cones times dimensions
_COUNTED = 16  # times as many draws are counted as are held out


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
      transport_draws: exact W1 of each pair of samples, whose mean is `transport`.
      transport_uppers: the upper bound from the first draw, the first two, and so on; that
        of all of them is no less than `upper`.
      n_p: held-out samples of p behind `lower`.
      n_q: held-out samples of q behind `lower`.
      steps: of the critic's ascent.
      converged: the critic passed the plateau test; if not, `lower` may be
        loose (it holds all the same) and more `steps` may help.
      history: of the ascent, (step, score, lower): the score on validation samples, and
        that less its margin, in the units of the samples.
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
    transport_draws: tuple[float, ...]
    transport_uppers: tuple[float, ...]
    n_p: int
    n_q: int
    steps: int
    converged: bool
    history: tuple[Progress, ...]
    critic: Callable[[Array], Array]


def estimate_w1(
    p: Source,
    q: Source,
    *,
    key: Array,
    critic: Callable[[Array], Array] | None = None,
    lipschitz: float | None = None,
    confidence: float = 0.95,
    steps: int | None = None,
    cones: int | None = None,
    batch_size: int | None = None,
    held_out: int = 262_144,
    transport_size: int = 1024,
    transports: int = 8,
    diameter: float | None = None,
    progress: bool | None = None,
) -> W1Estimate:
    """Estimate W1 of two laws from arrays or samplers, with a lower and an upper bound.

    `lower` is a Kantorovich-Rubinstein score. A minimum of cones, 1-Lipschitz
    whatever its weights, is fitted on one half of the samples, clipped to the
    range it has there (still 1-Lipschitz), and scored on the other half. Its
    margin comes from betting against a smaller difference: it assumes independent
    samples and nothing else, and holds for every number of samples.

    `upper` is exact transport between samples, whose expectation is never below
    W1. No bound from above can hold for all laws: mass too rare to be sampled may
    lie as far away as it likes. With a known `diameter` the margin holds at every
    number of samples. Without one it assumes that the samples show the spread of
    the laws: it is the betting margin of the transport potentials, as if these reached
    no further above the samples than once more their range. In high dimension
    `upper` is loose: it exceeds W1 by about `floor`. Samplers have up to two more such
    bounds, which share the risk, and the least of them counts: up to dimension 3, transport
    between millions of draws counted in the cells of a tree, with the distances within
    the cells; and where one key brings draws of both laws together, as of a generator
    before and after a step, the mean distance of such draws.

    `value` is the held-out score, or transport less its floor where that is larger by more
    than its noise; both tend to be below W1. It is kept inside the bounds.

    Args:
      p: samples [n, ...], floating point; or a sampler `(key, n) -> x[n, ...]`
        that JAX can trace, which gives fresh samples without limit. Rows of an
        array are taken as independent draws, and W1 is that of the laws that
        they were drawn from.
      q: likewise, with samples of the same shape.
      key: a typed key.
      critic: a critic x[n, ...] -> scores [n] or [n, 1] to use as it is, for
        instance that of a GAN at inference, in place of fitting cones. It must not
        have seen the held-out half of the samples. It is evaluated at full float32
        precision; half precision inside it is refused, and the rounding that its scores show
        over tiny steps widens the margin.
      lipschitz: a certified bound of `critic`, from `lipschitz_bound`, by which
        its scores are divided. It is required with a critic, and refused where differences
        of scores between samples, or along gradients, exceed it.
      confidence: that lower <= W1 <= upper, half of the risk for each.
      steps: of the critic's ascent; up to twice as many until it has converged, and fewer
        for samplers of near laws in few dimensions.
        By default 1,000, and 1,500 above 32 dimensions.
      cones: in the critic; no more than the samples it is fitted on. By default
        1,024, and 512 above 32 dimensions.
      batch_size: of the ascent. By default 1,024, and 4,096 above 32 dimensions.
      held_out: samples of each law behind `lower`, for samplers. In few dimensions up to 16
        times as many are drawn, while the margin is a large share of the score.
      transport_size: points of one exact transport.
      transports: how many, where there are samples enough.
      diameter: of a set that holds both laws, in the units of the samples, if known; for
        instance sqrt(d) for values in [0, 1].
      progress: show a progress bar; by default where stderr is a terminal. `plot_bounds`
        draws how the bounds closed in.

    Returns:
      A `W1Estimate` of Python numbers.

    Raises:
      ValueError: values that are not finite, fewer than 8 samples, samples of
        different shapes, integer arrays, a critic that is not scalar, computes in half
        precision or is steeper than its bound, or settings out of range.

    Example:
      >>> import jax
      >>> x = jax.random.normal(jax.random.key(0), (500, 2))
      >>> y = 3.0 + jax.random.normal(jax.random.key(1), (500, 2))
      >>> w1 = estimate_w1(x, y, key=jax.random.key(2), steps=50, cones=64)
      >>> w1.lower < 3 * 2**0.5 < w1.upper
      True

    References:
      Villani, Optimal Transport, Old and New, 2009, theorem 5.10 (duality);
      Waudby-Smith and Ramdas, Estimating means of bounded random variables by
      betting, 2024 (the margins); del Barrio and Loubes,
      Central limit theorems for empirical transportation cost in general
      dimension, 2019 (potentials in the margin of `upper`); McDiarmid, 1989 (that
      with a diameter).
    """
    pair = Pair.of(p, q, typed(key))
    low_dimension = pair.center.shape[0] <= 32
    steps = (1000 if low_dimension else 1500) if steps is None else steps
    cones = (1024 if low_dimension else 512) if cones is None else cones
    batch_size = (1024 if low_dimension else 4096) if batch_size is None else batch_size
    _check_settings(confidence, steps, cones, held_out, transport_size, transports, batch_size)
    alpha = (1 - confidence) / 2
    if critic is None and lipschitz is not None:
        raise ValueError(f"lipschitz={lipschitz} bounds a critic, and none is given")
    quantised = None
    if callable(p) and callable(q) and pair.center.shape[0] <= LARGEST_DIM:
        quantised = Quantised.of(pair, _COUNTED * held_out)
    looks = 1
    if critic is None:
        fit = fit_cones(pair, steps, cones, batch_size, alpha, progress, quantised, held_out)
        looks = _looks(held_out * cones * pair.center.shape[0])
    else:
        fit = given(pair, critic, lipschitz)
    dual = dual_score(pair, fit.critic, held_out, looks, alpha, fit.rounding)
    scale = float(pair.scale)
    within = None if diameter is None else diameter / scale
    alike = are_alike(pair)
    bounds = 1 + (quantised is not None) + alike  # from above, which share the risk
    transport = transport_between_samples(
        pair, transport_size, transports, alpha / bounds, within, dual.reach
    )
    lower = max(dual.score - dual.margin, 0.0)
    upper = transport.upper
    if quantised is not None:
        upper = min(upper, quantised.upper(alpha / bounds, within))
    if alike:
        upper = min(upper, coupled_upper(pair, alpha / bounds, within))
    upper = max(upper, lower)  # where they cross, it is the upper one that fails
    value = min(max(dual.score, transport.debiased, lower), upper)
    return W1Estimate(
        value=value * scale,
        lower=lower * scale,
        upper=upper * scale,
        confidence=confidence,
        lipschitz=1.0 if lipschitz is None else float(lipschitz),
        dual=dual.score * scale,
        transport=transport.mean * scale,
        floor=transport.floor * scale,
        transport_size=transport.size,
        transport_draws=tuple(w * scale for w in transport.draws),
        transport_uppers=tuple(w * scale for w in transport.uppers),
        n_p=dual.sizes[0],
        n_q=dual.sizes[1],
        steps=fit.steps,
        converged=fit.converged,
        history=tuple(
            Progress(past.step, past.score * scale, past.lower * scale) for past in fit.history
        ),
        critic=_in_units(fit.critic, pair.center, pair.scale),
    )


def _looks(work: int) -> int:
    """How often held-out draws may grow fourfold, where scoring the first of them is that much."""
    return next((looks for looks in (3, 2) if work * 4 ** (looks - 1) < _MOST_WORK), 1)


def _check_settings(confidence: float, *counts: int) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    names = ("steps", "cones", "held_out", "transport_size", "transports", "batch_size")
    least = (CHUNKS, 2, 8, 8, 1, 1)
    for name, count, at_least in zip(names, counts, least, strict=True):
        if count < at_least:
            raise ValueError(f"{name} must be at least {at_least}, got {count}")


def _in_units(cones: Any, center: Array, scale: Array) -> Callable[[Array], Array]:
    """The critic in the units of the samples."""

    def critic(x: Array) -> Array:
        return scale * cones((x.reshape(x.shape[0], -1) - center[None]) / scale)

    return critic
