"""The contract of a penalty."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.penalties import Penalty
from wgan_jax.testing import programs
from wgan_jax.testing.arguments import check_function
from wgan_jax.testing.assertions import (
    assert_finite,
    assert_same_structure,
    assert_scalar,
    run_properties,
)
from wgan_jax.testing.draws import draws
from wgan_jax.types import Array

_SLOPE = np.array([0.6, -0.8, 0.0], np.float32)  # of length 1


class _Case(NamedTuple):
    penalty: Penalty
    seed: int
    rtol: float

    def samples(self) -> tuple[Array, Array, Array]:
        """Return real and fake samples [8, 3], and the penalty's key."""
        on_real, on_fake, on_penalty = jax.random.split(jax.random.key(self.seed), 3)
        real, fake = (jax.random.normal(key, (8, 3)) for key in (on_real, on_fake))
        return real, fake - 1.0, on_penalty

    def of_slope(self) -> tuple[Callable[..., Array], Callable[[], tuple]]:
        """Return the penalty as a function of a linear critic's slope, and its arguments."""

        def value(slope: Array, real: Array, fake: Array, key: Array) -> Array:
            return self.penalty(linear(slope), real, fake, key)

        return value, lambda: (2 * jnp.asarray(_SLOPE), *self.samples())


def linear(slope: Array) -> Callable[..., Array]:
    """Return x -> slope . x. A key adds zero noise, as if the critic had dropout."""

    def critic(x: Array, key: Array | None = None) -> Array:
        scores = x @ slope
        return scores if key is None else scores + 0.0 * jax.random.normal(key, scores.shape)

    return critic


def check_penalty(
    penalty: Penalty, *, seed: int = 0, rtol: float = 1e-4, skip: Collection[str] = ()
) -> None:
    """Raise AssertionError unless `penalty` satisfies the contract of a `Penalty`.

    Properties, by the names that `skip` takes: `scalar` (finite and not
    negative), `steepness` (a linear critic of slope 10 is penalized more than one of
    slope 1, and the gradient agrees), `zero` (value and gradient are finite for a
    critic that is zero), `labels` (integer leaves are neither changed nor
    differentiated), `mean` (repeating the samples four times gives about the same,
    also over samples with different slopes), `points` (points between real and fake
    samples lie on the segments, each with its own coefficient in [0, 1]), `purity`,
    `jit`, `keys` (all draws derive from the key, none reuses it), `export`.

    Args:
      penalty: the penalty to check. It is called with linear critics on samples [8, 3].
      seed: seed of samples and key.
      rtol: tolerance for rounding between programs.
      skip: properties to leave out.

    Raises:
      AssertionError: the first property that fails, with values.
      ValueError: an unknown property in `skip`, or an object that cannot be called.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from wgan_jax import GradientPenalty
      >>> check_penalty(GradientPenalty())
      >>> def naive(critic, real, fake, key):
      ...     slopes = jax.grad(lambda x: critic(x).sum())(real)
      ...     return jnp.square(jnp.linalg.norm(slopes, axis=1) - 1).mean()
      >>> check_penalty(naive)  # the norm has no derivative at zero
      Traceback (most recent call last):
      AssertionError: check_penalty, zero (...): the gradient for a critic that is zero...
    """
    __tracebackhide__ = True
    check_function(penalty, "penalty", "(critic, real, fake, key) -> scalar")
    run_properties("check_penalty", _PROPERTIES, _Case(penalty, seed, rtol), skip)


def _scalar(case: _Case) -> None:
    """the penalty is a finite scalar that is not negative."""
    value, arguments = case.of_slope()
    paid = value(*arguments())
    assert_scalar(paid, "the penalty")
    assert_same_structure(paid, jnp.zeros(()), "the penalty of float32 samples is not float32")
    assert_finite(paid, "the penalty")
    assert paid >= 0, f"the penalty is negative: {paid}"


def _zero(case: _Case) -> None:
    """value and gradient are finite for a critic that is zero."""
    value, arguments = case.of_slope()
    slope, *samples = arguments()
    paid, gradient = jax.value_and_grad(value)(jnp.zeros_like(slope), *samples)
    cause = " (a norm or a root at zero? Put an epsilon inside it)"
    assert_finite(paid, f"the value for a critic that is zero{cause}")
    assert_finite(gradient, f"the gradient for a critic that is zero{cause}")


def _steepness(case: _Case) -> None:
    """steep critics are penalized more."""
    value, arguments = case.of_slope()
    paid = []
    for length in (1.0, 10.0):
        _, *samples = arguments()
        paid.append(float(value(length * jnp.asarray(_SLOPE), *samples)))
    assert paid[1] > paid[0], (
        f"the penalty is {paid[1]:.6g} for a slope of 10, not above {paid[0]:.6g} for a slope of 1"
    )

    def of_length(length: Array) -> Array:
        _, *samples = arguments()
        return value(length * _SLOPE, *samples)

    derivative = float(jax.grad(of_length)(jnp.float32(10)))
    rise = float(of_length(jnp.float32(11)) - of_length(jnp.float32(9))) / 2
    assert abs(derivative - rise) <= 0.25 * abs(rise), (
        f"at a slope of 10, the gradient of the penalty by the slope is {derivative:.6g}, but its "
        f"value rises by {rise:.6g}: slopes behind a stop_gradient, which train nothing?"
    )


def _mean(case: _Case) -> None:
    """the penalty averages over the batch."""
    value, arguments = case.of_slope()
    slope, real, fake, key = arguments()
    paid = value(slope, real, fake, jax.random.clone(key))
    more = value(slope, *(jnp.concatenate([x] * 4) for x in (real, fake)), key)
    assert paid / 2 <= more <= 2 * paid, (
        f"the penalty is {paid:.6g}, and {more:.6g} on the same samples repeated four times (a sum "
        f"instead of a mean?)"
    )

    def half_flat(x: Array, key: Array | None = None) -> Array:
        return jnp.where(x[:, 2] > 0, linear(slope)(x, key), 0.0)  # a slope of 2 or 0

    real, fake = (x.at[:, 2].set(jnp.where(jnp.arange(8) < 4, 100, -100)) for x in (real, fake))

    def of_rows(rows: slice) -> Array:
        return case.penalty(half_flat, real[rows], fake[rows], case.samples()[2])

    paid, average = of_rows(slice(8)), (of_rows(slice(4)) + of_rows(slice(4, 8))) / 2
    assert average / 4 <= paid <= 4 * average, (
        f"the penalty of samples with different slopes is {paid:.6g}, and {average:.6g} on average "
        f"over its halves (a mean over the batch inside of the root or the square?)"
    )


def _points(case: _Case) -> None:
    """points between samples lie on the segments, each with its own coefficient."""
    real, fake, key = case.samples()
    seen: list[np.ndarray] = []

    def critic(x: Array, key: Array | None = None) -> Array:
        jax.debug.callback(lambda points: seen.append(np.asarray(points)), x)
        return linear(jnp.asarray(_SLOPE))(x, key)

    case.penalty(critic, real, fake, key)
    jax.effects_barrier()
    value, arguments = case.of_slope()
    if not draws(value, *arguments()):
        return
    ends = np.asarray(fake), np.asarray(real)
    span = ends[1] - ends[0]
    for points in (x for x in seen if x.shape == span.shape):
        t = (points - ends[0]) / span
        is_line, is_end = np.ptp(t, 1).max() < 1e-3, np.allclose(t, 0) or np.allclose(t, 1)
        assert is_end or not is_line or np.ptp(t) > 1e-3, (
            f"all points lie at {t[0, 0]:.3g} of the way from fake to real samples: draw one "
            f"coefficient per sample, of shape [batch, 1, ...], instead of one for the batch"
        )
        assert not is_line or (t.min() > -1e-3 and t.max() < 1 + 1e-3), (
            f"points lie at {t.min():.3g} to {t.max():.3g} of the way from fake to real samples: "
            f"draw coefficients in [0, 1], uniform instead of normal"
        )
        assert is_line or t.min() < -1e-3 or t.max() > 1 + 1e-3, (
            "points lie between real and fake samples, but not on the segments: draw one "
            "coefficient per sample, of shape [batch, 1, ...], instead of one per value"
        )


def _labels(case: _Case) -> None:
    """labels of samples are neither changed nor differentiated."""
    real, fake, key = case.samples()
    labels = jnp.arange(8, dtype=jnp.int32) % 3
    seen: list[Any] = []

    def critic(x: Any, key: Array | None = None) -> Array:
        image, label = x
        seen.append(label)
        return linear(jnp.asarray(_SLOPE))(image, key)

    penalty = case.penalty(critic, (real, labels), (fake, labels), key)
    assert_finite(penalty, "the penalty of labeled samples")
    for label in seen:
        assert label.dtype == labels.dtype, f"labels arrive as {label.dtype}, not {labels.dtype}"
        if not isinstance(label, jax.core.Tracer):
            assert set(np.asarray(label).tolist()) <= {0, 1, 2}, f"labels were changed to {label}"


def _purity(case: _Case) -> None:
    """equal inputs give equal outputs, and the input is not changed."""
    programs.assert_pure(*case.of_slope(), "the penalty")


def _jit(case: _Case) -> None:
    """compiled and eager results agree, in value and gradient."""
    value, arguments = case.of_slope()
    both = jax.value_and_grad(value)
    programs.assert_jit_is_eager(both, arguments, case.rtol, "the penalty with its gradient")


def _keys(case: _Case) -> None:
    """no key is used twice, and all draws derive from the given key."""
    value, arguments = case.of_slope()
    programs.assert_keys_are_fresh(value, arguments, "the penalty")
    other = (*arguments()[:-1], jax.random.key(case.seed + 1))  # not made from the first key
    programs.assert_keys_follow(value, arguments(), other, "the penalty")


def _export(case: _Case) -> None:
    """value and gradient can be exported."""
    value, arguments = case.of_slope()
    both = jax.value_and_grad(value)
    programs.assert_exports(both, arguments, case.rtol, "the penalty with its gradient")


_PROPERTIES = {
    "scalar": _scalar,
    "zero": _zero,
    "steepness": _steepness,
    "mean": _mean,
    "points": _points,
    "labels": _labels,
    "purity": _purity,
    "jit": _jit,
    "keys": _keys,
    "export": _export,
}
