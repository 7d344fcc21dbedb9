"""W1 between two distributions, with bounds that hold.

    E_q f - E_p f  <=  W1(p, q)  <=  E W1(p_n, q_n)      for every 1-Lipschitz f

The left side is a critic's score on samples it was not fitted to; the right
side is exact transport between samples. Both have confidence margins.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from wgan_jax.estimate.bounds import dual_score, transport_between_samples
from wgan_jax.estimate.coupled import are_alike, coupled_upper
from wgan_jax.estimate.features import features_of, name_of
from wgan_jax.estimate.fit import CHUNKS, fit_cones
from wgan_jax.estimate.given import given
from wgan_jax.estimate.judge import Progress
from wgan_jax.estimate.line import fit_on_a_line, w1_on_a_line
from wgan_jax.estimate.pair import Pair, Source
from wgan_jax.estimate.quantised import LARGEST_DIM, Quantised
from wgan_jax.estimate.result import W1Estimate
from wgan_jax.keys import typed
from wgan_jax.loop import check_sizes
from wgan_jax.types import Array

logger = logging.getLogger(__name__)

_MAX_WORK = 1 << 34  # draws times cones times dimensions
_MATCHED_RATIO = 16  # matched draws per held-out draw
_MAX_LOOKS = 4  # at held-out draws


def estimate_w1(
    p: Source,
    q: Source,
    *,
    key: Array,
    features: Callable[[Array], Array] | None = None,
    critic: Callable[[Array], Array] | None = None,
    lipschitz: float | None = None,
    confidence: float = 0.95,
    steps: int | None = None,
    cones: int | None = None,
    batch_size: int | None = None,
    held_out: int = 262_144,
    transport_size: int | None = None,
    transports: int = 8,
    diameter: float | None = None,
    progress: bool | None = None,
) -> W1Estimate:
    """Estimate W1 between two distributions, given as arrays or samplers, with bounds.

    `lower` is a Kantorovich-Rubinstein score. A minimum of cones, which is 1-Lipschitz for
    any weights, is fitted on one half of the samples, clipped to its range there (still
    1-Lipschitz), and scored on the other half. In one dimension the critic's slope is the
    sign of the difference of the distribution functions instead; there is no ascent, and
    `steps`, `cones` and `batch_size` have no effect. The margin is a betting bound: it
    assumes only that samples are independent, and holds for any number of them.

    `upper` is exact transport between samples, whose expectation is never below W1. No
    upper bound holds for all distributions: mass too rare to be sampled may lie
    arbitrarily far away. With a known `diameter` the margin holds for any number of
    samples. Without one it is the betting margin of the transport potentials, assuming
    that they exceed the observed maximum by at most the observed range or, if that is more,
    the extent of the samples. In high dimension `upper` is loose: it exceeds W1 by about
    `floor`. Samplers get up to two more upper bounds, which share the risk, and the smallest
    counts: up to dimension 3, the mean distance of millions of draws from their partners in a
    matching; and, where one key yields nearby draws of both distributions (a generator before
    and after a step), the mean distance between such draws.

    `value` is the held-out score, or transport minus its floor where that is larger by more
    than its noise; both tend to be below W1. For two arrays of scalars, [n, 1] or [n], it is
    the exact W1 of all rows. It is kept inside the bounds. A score within its margin is no
    evidence of a distance and counts as 0, so `value` of equal distributions is 0.

    Args:
      p: samples [n, ...], or a traceable sampler `(key, n) -> x[n, ...]`, which gives unlimited
        fresh samples. Rows of an array are treated as independent draws, in any order (they
        are shuffled), and W1 is that of the distributions they were drawn from. The bounds do
        not hold for rows that are repeated, follow one another in time, or mirror those of q.
        Tables, sparse matrices and tensors of other libraries are converted; booleans and
        integers are used as numbers.
      q: likewise, with samples of the same shape.
      key: a typed key.
      features: a traceable function x[n, ...] -> features [n, ...] of each row by itself. W1,
        its bounds, `diameter` and the input of `critic` are then those of the features; the
        estimate is labeled with their name, `features.name` or that of the function.
      critic: a critic x[n, ...] -> scores [n] or [n, 1] to use as is, such as that of a GAN at
        inference, instead of fitting cones. It must not have been fitted to the held-out half
        of the samples. It is evaluated at full float32 precision; half precision inside it is
        rejected, and the rounding that its scores show over tiny steps widens the margin.
      lipschitz: a certified bound of `critic`, from `lipschitz_bound`, by which its scores are
        divided. It is required with a critic, and rejected where differences of scores,
        between samples or along gradients, exceed it.
      confidence: probability that lower <= W1 <= upper; the risk is split evenly.
      steps: length of the critic's ascent. It takes up to twice as many until convergence,
        fewer for close samplers in few dimensions, and for arrays stops early on validation
        rows. By default 1,000, and 1,500 above 32 dimensions.
      cones: number of cones in the critic, at most the samples that it is fitted on. For
        arrays, the most that are tried; validation rows choose how many remain. By default
        1,024, and 512 above 32 dimensions.
      batch_size: samples per step of the ascent. By default 1,024, and 4,096 above 32
        dimensions.
      held_out: samples of each distribution behind `lower`, for samplers. In few dimensions up
        to 16 times as many are drawn, and up to 64 where few cones matter, while the margin is
        a large fraction of the score.
      transport_size: points per exact transport. By default 1,024, and in one dimension, where
        sorting suffices, 131,072 or all rows of arrays.
      transports: number of exact transports, if there are enough samples.
      diameter: diameter of a set that contains both distributions, in the units of the
        samples, if known; for instance sqrt(d) for values in [0, 1].
      progress: whether to show a progress bar; by default if stderr is a terminal.
        `plot_bounds` draws how the bounds converged.

    Returns:
      A `W1Estimate` of Python numbers.

    Raises:
      ValueError: values that are not finite, masked, complex or not numeric, fewer than 8
        samples, samples of different shapes, a sampler that ignores its key, a critic that is not
        scalar, computes in half precision or is steeper than its bound, or settings out of range.

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
      betting, 2024 (the margins); del Barrio and Loubes, Central limit theorems for
      empirical transportation cost in general dimension, 2019 (potentials in the margin of
      `upper`); McDiarmid, 1989 (its margin with a diameter).
    """
    feature_name = "" if features is None else name_of(features)
    if features is not None:
        p, q = features_of(p, features, "p"), features_of(q, features, "q")
    pair = Pair.of(p, q, typed(key), diameter)
    for note in pair.notes:
        logger.warning(note)
    low_dimension = pair.center.shape[0] <= 32
    steps = (1000 if low_dimension else 1500) if steps is None else steps
    cones = (1024 if low_dimension else 512) if cones is None else cones
    batch_size = (1024 if low_dimension else 4096) if batch_size is None else batch_size
    on_a_line = pair.center.shape[0] == 1
    transport_size = (131_072 if on_a_line else 1024) if transport_size is None else transport_size
    _check_settings(confidence, steps, cones, held_out, transport_size, transports, batch_size)
    alpha = (1 - confidence) / 2
    if critic is None and lipschitz is not None:
        raise ValueError(f"lipschitz={lipschitz} requires a critic, and none is given")
    # A critic is refused before the draws below, which take long.
    fit = None if critic is None else given(pair, critic, lipschitz)
    quantised = None
    if callable(p) and callable(q) and pair.center.shape[0] <= LARGEST_DIM:
        quantised = Quantised.of(pair, _MATCHED_RATIO * held_out)
    looks = 1
    if fit is None and on_a_line:
        fit, looks = fit_on_a_line(pair, quantised, alpha, held_out), _MAX_LOOKS
    elif fit is None:
        fit = fit_cones(pair, steps, cones, batch_size, alpha, progress, quantised, held_out)
        looks = _looks(held_out * fit.critic.centers.size)
    dual = dual_score(pair, fit.critic, held_out, looks, alpha, fit.rounding)
    scale = float(pair.scale)
    standard_diameter = None if diameter is None else diameter / scale
    share_keys = are_alike(pair)
    bounds = 1 + (quantised is not None) + share_keys  # upper bounds, which share the risk
    transport = transport_between_samples(
        pair, transport_size, transports, alpha / bounds, standard_diameter, dual.reach
    )
    lower = max(dual.score - dual.margin, 0.0)
    upper = transport.upper
    if quantised is not None:
        upper = min(upper, quantised.upper(alpha / bounds, standard_diameter))
    if share_keys:
        upper = min(upper, coupled_upper(pair, alpha / bounds, standard_diameter))
    upper = max(upper, lower)  # where they cross, the upper one has failed
    if on_a_line and not (callable(p) or callable(q)):
        value = w1_on_a_line(pair.p, pair.q)
    elif on_a_line and critic is None and quantised is not None:
        value = dual.denoised  # millions of draws, and the best critic is known
    else:
        value = max(dual.denoised, transport.debiased)
    value = min(max(value, lower), upper)
    estimate = W1Estimate(
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
        critic=_InUnits(fit.critic, pair.center, pair.scale),
        features=feature_name,
        notes=pair.notes,
    )
    return estimate._replace(notes=(*pair.notes, *_note_on_upper(estimate)))


def _note_on_upper(estimate: W1Estimate) -> tuple[str, ...]:
    if not estimate.upper_is_noise:
        return ()
    n = estimate.transport_size // 2
    return (
        f"the upper bound is not informative: two samples of {n:,} points of one distribution are "
        f"{estimate.floor:.4g} apart, which accounts for most of it",
    )


def _looks(work: int) -> int:
    """Return how many looks, each at 4 times the draws, are affordable at `work` for the first."""
    looks = _MAX_LOOKS
    while looks > 1 and work * 4 ** (looks - 1) > _MAX_WORK:
        looks -= 1
    return looks


def _check_settings(confidence: float, *counts: int) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}")
    names = ("steps", "cones", "held_out", "transport_size", "transports", "batch_size")
    least = (CHUNKS, 2, 8, 8, 1, 1)
    for name, count, at_least in zip(names, counts, least, strict=True):
        check_sizes(at_least, **{name: count})


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class _InUnits:
    """A critic of standardized samples, applied to samples x[n, ...] in their own units."""

    standard: Any
    center: Array
    scale: Array

    def __call__(self, x: Array) -> Array:
        z = (x.reshape(x.shape[0], -1).astype(jnp.float32) - self.center[None]) / self.scale
        return self.scale * self.standard(z)
