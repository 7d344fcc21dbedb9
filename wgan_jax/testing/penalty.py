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
from wgan_jax.types import Array

_SLOPE = np.array([0.6, -0.8, 0.0], np.float32)  # of length 1


class _Case(NamedTuple):
    penalty: Penalty
    seed: int
    rtol: float

    def samples(self) -> tuple[Array, Array, Array]:
        """Real and fake samples [8, 3], and the penalty's key."""
        on_real, on_fake, on_penalty = jax.random.split(jax.random.key(self.seed), 3)
        real, fake = (jax.random.normal(key, (8, 3)) for key in (on_real, on_fake))
        return real, fake - 1.0, on_penalty

    def of_slope(self) -> tuple[Callable[..., Array], Callable[[], tuple]]:
        """The penalty as a function of the slope of a linear critic, and of samples."""

        def value(slope: Array, real: Array, fake: Array, key: Array) -> Array:
            return self.penalty(linear(slope), real, fake, key)

        return value, lambda: (2 * jnp.asarray(_SLOPE), *self.samples())


def linear(slope: Array) -> Callable[..., Array]:
    """x -> slope . x. A key adds noise of no size, so that it passes for a critic with dropout."""

    def critic(x: Array, key: Array | None = None) -> Array:
        scores = x @ slope
        return scores if key is None else scores + 0.0 * jax.random.normal(key, scores.shape)

    return critic


def check_penalty(
    penalty: Penalty, *, seed: int = 0, rtol: float = 1e-4, skip: Collection[str] = ()
) -> None:
    """Raise AssertionError unless `penalty` keeps the contract of a `Penalty`.

    Properties, by the names that `skip` takes: `scalar` (finite and not
    negative), `steepness` (a linear critic of slope 10 pays more than one of
    slope 1, and its gradient says so), `zero` (value and gradient are finite at a
    critic that is zero), `labels` (leaves of integers are neither moved nor
    differentiated), `mean` (samples given four times pay about the same), `purity`,
    `jit`, `keys`, `export`.

    Args:
      penalty: to be checked. It is called with linear critics on samples [8, 3].
      seed: of samples and key.
      rtol: room for rounding between programs.
      skip: properties to leave out.

    Raises:
      AssertionError: the first property that fails, with values.
      ValueError: a property to skip that there is not, or nothing that can be called.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from wgan_jax import GradientPenalty
      >>> check_penalty(GradientPenalty())
      >>> def naive(critic, real, fake, key):
      ...     slopes = jax.grad(lambda x: critic(x).sum())(real)
      ...     return jnp.square(jnp.linalg.norm(slopes, axis=1) - 1).mean()
      >>> check_penalty(naive)  # the norm has no derivative at zero
      Traceback (most recent call last):
      AssertionError: check_penalty, zero (...): the gradient at a critic that is zero...
    """
    __tracebackhide__ = True
    check_function(penalty, "penalty", "(critic, real, fake, key) -> scalar")
    run_properties("check_penalty", _PROPERTIES, _Case(penalty, seed, rtol), skip)


def _scalar(case: _Case) -> None:
    """one finite number, not negative."""
    value, arguments = case.of_slope()
    paid = value(*arguments())
    assert_scalar(paid, "the penalty")
    assert_same_structure(paid, jnp.zeros(()), "the penalty of float32 samples")
    assert_finite(paid, "the penalty")
    assert paid >= 0, f"the penalty is negative: {paid}"


def _zero(case: _Case) -> None:
    """a critic that starts at zero can be trained."""
    value, arguments = case.of_slope()
    slope, *samples = arguments()
    paid, gradient = jax.value_and_grad(value)(jnp.zeros_like(slope), *samples)
    assert_finite(paid, "the value at a critic that is zero")
    assert_finite(gradient, "the gradient at a critic that is zero")


def _steepness(case: _Case) -> None:
    """steep critics pay more."""
    value, arguments = case.of_slope()
    paid = []
    for length in (1.0, 10.0):
        _, *samples = arguments()
        paid.append(float(value(length * jnp.asarray(_SLOPE), *samples)))
    assert paid[1] > paid[0], f"slope 10 pays {paid[1]:.6g}, slope 1 pays {paid[0]:.6g}"

    def of_length(length: Array) -> Array:
        _, *samples = arguments()
        return value(length * _SLOPE, *samples)

    told = float(jax.grad(of_length)(jnp.float32(10)))
    rise = float(of_length(jnp.float32(11)) - of_length(jnp.float32(9))) / 2
    assert abs(told - rise) <= 0.25 * abs(rise), (
        f"at slope 10 the gradient tells critics that steepness costs {told:.6g}, where the value "
        f"rises by {rise:.6g}: slopes behind a stop_gradient, which are told and not trained?"
    )


def _mean(case: _Case) -> None:
    """a batch counts as the mean of its samples."""
    value, arguments = case.of_slope()
    slope, real, fake, key = arguments()
    paid = value(slope, real, fake, jax.random.clone(key))
    more = value(slope, *(jnp.concatenate([x] * 4) for x in (real, fake)), key)
    assert paid / 2 <= more <= 2 * paid, (
        f"a linear critic pays {paid:.6g}, and on the same samples four times {more:.6g}"
    )


def _labels(case: _Case) -> None:
    """labels of samples are neither moved nor differentiated."""
    real, fake, key = case.samples()
    labels = jnp.arange(8, dtype=jnp.int32) % 3
    seen: list[Any] = []

    def critic(x: Any, key: Array | None = None) -> Array:
        image, label = x
        seen.append(label)
        return linear(jnp.asarray(_SLOPE))(image, key)

    assert_finite(case.penalty(critic, (real, labels), (fake, labels), key), "with labels")
    for label in seen:
        assert label.dtype == labels.dtype, f"labels come as {label.dtype}, not {labels.dtype}"
        if not isinstance(label, jax.core.Tracer):
            assert set(np.asarray(label).tolist()) <= {0, 1, 2}, f"labels were moved to {label}"


def _purity(case: _Case) -> None:
    """same input, same output, and the input is left alone."""
    programs.assert_pure(*case.of_slope(), "the penalty")


def _jit(case: _Case) -> None:
    """compiled and eager agree, in value and gradient."""
    value, arguments = case.of_slope()
    both = jax.value_and_grad(value)
    programs.assert_jit_is_eager(both, arguments, case.rtol, "the penalty with its gradient")


def _keys(case: _Case) -> None:
    """no key is used twice."""
    programs.assert_keys_are_fresh(*case.of_slope(), "the penalty")


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
    "labels": _labels,
    "purity": _purity,
    "jit": _jit,
    "keys": _keys,
    "export": _export,
}
