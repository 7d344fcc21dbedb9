"""The contract of an objective."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.objectives import Objective, PairedObjective, is_paired
from wgan_jax.testing import programs
from wgan_jax.testing.assertions import (
    assert_close,
    assert_finite,
    assert_same_structure,
    assert_scalar,
    run_properties,
)
from wgan_jax.types import Array
from wgan_jax.validation import check_part


class _Case(NamedTuple):
    objective: Objective | PairedObjective
    wasserstein: bool
    seed: int
    rtol: float

    def scores(self) -> tuple[Array, Array]:
        """Return scores [7] of real and fake samples."""
        on_real, on_fake = jax.random.split(jax.random.key(self.seed))
        return 2 * jax.random.normal(on_real, (7,)), jax.random.normal(on_fake, (7,)) - 0.5

    def parts(self) -> dict[str, Callable[[Array, Array], Array]]:
        return {
            "critic_loss": self.objective.critic_loss,
            "generator_loss": self.generator_loss,
            "estimate": self.objective.estimate,
        }

    def generator_loss(self, real: Array, fake: Array) -> Array:
        scores = (fake, real) if is_paired(self.objective) else (fake,)
        return self.objective.generator_loss(*scores)


def check_objective(
    objective: Objective | PairedObjective,
    *,
    wasserstein: bool = False,
    seed: int = 0,
    rtol: float = 1e-5,
    skip: Collection[str] = (),
) -> None:
    """Raise AssertionError unless `objective` satisfies the contract of an `Objective`.

    Properties, by the names that `skip` takes: `scalars`, `mean` (losses average over
    the batch, in any order), `signs` (the critic raises real scores and lowers fake
    ones, the generator raises fake ones, the estimate rises where the critic's loss
    falls), `derivative` (gradients are the slopes of the losses), `finite` (losses and
    gradients at scores up to 10,000), `purity`, `jit`, `export`, and with
    `wasserstein` also `kantorovich`.

    Args:
      objective: the objective to check.
      wasserstein: whether it is a difference of means: adding a constant to all scores
        changes nothing, exchanging real and fake flips the sign, and the estimate is
        the negative loss.
      seed: seed of the scores.
      rtol: tolerance for rounding.
      skip: properties to leave out.

    Raises:
      AssertionError: the first property that fails, with values.
      ValueError: an unknown property in `skip`, or an object that is not an objective.

    Example:
      >>> from wgan_jax import Hinge, Wasserstein
      >>> check_objective(Wasserstein(), wasserstein=True)
      >>> check_objective(Hinge(), wasserstein=True)
      Traceback (most recent call last):
      AssertionError: check_objective, kantorovich (...): a constant added to all scores ...
    """
    __tracebackhide__ = True
    check_part(objective, "objective", "critic_loss", "generator_loss", "estimate")
    case = _Case(objective, wasserstein, seed, rtol)
    run_properties("check_objective", _PROPERTIES, case, skip)


def _scalars(case: _Case) -> None:
    """both losses and the estimate are scalars of the scores' dtype."""
    real, fake = case.scores()
    for name, part in case.parts().items():
        value = part(real, fake)
        assert_scalar(value, name)
        assert_same_structure(value, real[0], f"{name} of float32 scores is not float32")
    assert isinstance(case.objective.estimates, str), "`estimates` must name what is estimated"


def _mean(case: _Case) -> None:
    """losses and estimate average over the batch, in any order."""
    real, fake = case.scores()
    for name, part in case.parts().items():
        value = part(real, fake)
        twice = part(jnp.concatenate([real, real]), jnp.concatenate([fake, fake]))
        assert_close(twice, value, case.rtol, f"{name} changes if the batch is repeated (a sum?)")
        reverse = part(real[::-1], fake[::-1])
        assert_close(reverse, value, case.rtol, f"{name} depends on the order of the batch")


def _signs(case: _Case) -> None:
    """losses are minimized: the critic separates the scores, the generator opposes it."""
    scores = jnp.linspace(0.1, 0.9, 5)  # where least squares also pulls both ways
    loss, estimate = case.objective.critic_loss, case.objective.estimate
    on_real, on_fake = jax.grad(loss, (0, 1))(scores, scores)
    assert (on_real <= 0).all(), (
        f"critic_loss must fall as real scores rise; its slopes are {_listed(on_real)}"
    )
    assert (on_fake >= 0).all(), (
        f"critic_loss must rise as fake scores rise; its slopes are {_listed(on_fake)}"
    )
    for slopes, whose in ((on_real, "real"), (on_fake, "fake")):
        assert slopes.any(), (
            f"critic_loss does not depend on the {whose} scores: they are not used, or behind a "
            f"stop_gradient"
        )
    lowers = jax.grad(case.generator_loss, 1)(scores, scores)
    assert (lowers <= 0).all(), (
        f"generator_loss must fall as fake scores rise; its slopes are {_listed(lowers)}"
    )
    assert np.abs(lowers).max() > 0, "generator_loss does not depend on the scores"
    for slopes, gains in zip((on_real, on_fake), jax.grad(estimate, (0, 1))(scores, scores)):  # noqa: B905
        assert (slopes * gains <= 0).all(), (
            f"the estimate must rise where critic_loss falls; their slopes are "
            f"{_listed(gains)} and {_listed(slopes)}"
        )
    real, fake = case.scores()
    assert estimate(real, fake) != estimate(fake, real), (
        "the estimate does not depend on the scores"
    )


def _derivative(case: _Case) -> None:
    """gradients are the slopes of the losses."""
    scores, step = jnp.linspace(0.1, 0.9, 5), 0.05
    losses = (("critic_loss", 0), ("critic_loss", 1), ("generator_loss", 1))
    for name, position in losses:

        def loss(shift: Array | float, name: str = name, position: int = position) -> Array:
            pair = [scores, scores]
            pair[position] = scores + shift
            return case.parts()[name](*pair)

        slope, rise = jax.grad(loss)(0.0), (loss(step) - loss(-step)) / (2 * step)
        assert abs(slope - rise) <= 0.1 * abs(rise) + 1e-3, (
            f"the gradient of {name} by its {('real', 'fake')[position]} scores sums to "
            f"{slope:.4g}, but the loss rises by {rise:.4g} (a stop_gradient in a part of it?)"
        )


def _finite(case: _Case) -> None:
    """losses and their gradients are finite at any score."""
    scores = jnp.array([-1e4, -100.0, -1.0, 0.0, 1.0, 100.0, 1e4])
    for name, part in case.parts().items():
        value, slopes = jax.value_and_grad(part, (0, 1))(scores, scores[::-1])
        assert_finite(value, f"{name} at scores up to 10,000")
        assert_finite(slopes, f"the gradient of {name} at scores up to 10,000")


def _purity(case: _Case) -> None:
    """equal inputs give equal outputs, and the input is not changed."""
    for name, part in case.parts().items():
        programs.assert_pure(part, case.scores, name)


def _jit(case: _Case) -> None:
    """compiled and eager results agree."""
    programs.assert_jit_is_eager(_all(case), case.scores, case.rtol, "a loss")


def _export(case: _Case) -> None:
    """losses can be exported."""
    programs.assert_exports(_all(case), case.scores, case.rtol, "a loss")


def _kantorovich(case: _Case) -> None:
    """critic_loss is a difference of means, and the estimate its negative."""
    if not case.wasserstein:
        return
    real, fake = case.scores()
    loss = case.objective.critic_loss
    value = loss(real, fake)
    moved = loss(real + 3.0, fake + 3.0)
    assert abs(moved - value) <= 1e-5, (
        f"a constant added to all scores changes critic_loss from {value:.6g} to {moved:.6g}"
    )
    exchanged = loss(fake, real)
    assert abs(exchanged + value) <= 1e-5, (
        f"exchanging real and fake changes critic_loss from {value:.6g} to {exchanged:.6g}, "
        f"not to {-value:.6g}"
    )
    estimate = case.objective.estimate(real, fake)
    assert abs(estimate + value) <= 1e-5, (
        f"the estimate is {estimate:.6g}, but the negative critic_loss is {-value:.6g}"
    )


def _all(case: _Case) -> Callable[[Array, Array], dict[str, Array]]:
    return lambda real, fake: {name: part(real, fake) for name, part in case.parts().items()}


def _listed(x: Array) -> list[float]:
    return [round(float(v), 4) for v in x]


_PROPERTIES = {
    "scalars": _scalars,
    "mean": _mean,
    "signs": _signs,
    "derivative": _derivative,
    "finite": _finite,
    "purity": _purity,
    "jit": _jit,
    "export": _export,
    "kantorovich": _kantorovich,
}
