"""Protocols of objectives."""

from __future__ import annotations

from typing import ClassVar, Protocol, TypeGuard

from wgan_jax.types import Array, Scalar


class Objective(Protocol):
    """Losses of the two players, from the critic's scores [batch] alone.

    Both losses are minimized. `estimate` is the distance or divergence between data and
    generator that the critic's maximum represents; `estimates` describes it in words, for
    the title of a plot. An optional class variable `title` names the method in reports.
    """

    estimates: ClassVar[str]

    def critic_loss(self, real: Array, fake: Array) -> Scalar: ...

    def generator_loss(self, fake: Array) -> Scalar: ...

    def estimate(self, real: Array, fake: Array) -> Scalar: ...


class PairedObjective(Protocol):
    """Losses on pairs of scores: sample i of the real batch against sample i of the fake one.

    Like `Objective`, but the generator's loss also takes scores of real samples, so
    `generator_step` needs real samples. `paired` distinguishes the two kinds.
    """

    estimates: ClassVar[str]
    paired: ClassVar[bool] = True

    def critic_loss(self, real: Array, fake: Array) -> Scalar: ...

    def generator_loss(self, fake: Array, real: Array) -> Scalar: ...

    def estimate(self, real: Array, fake: Array) -> Scalar: ...


def is_paired(objective: Objective | PairedObjective) -> TypeGuard[PairedObjective]:
    """Return whether the generator's loss compares each fake sample with a real one.

    Example:
      >>> from wgan_jax.objectives import RelativisticPairing, Wasserstein
      >>> is_paired(RelativisticPairing()), is_paired(Wasserstein())
      (True, False)
    """
    return getattr(objective, "paired", False)
