"""The protocol of objectives."""

from __future__ import annotations

from typing import ClassVar, Protocol, TypeGuard

from wgan_jax.types import Array, Scalar


class Objective(Protocol):
    """Losses of the two players, from the critic's scores [batch] alone.

    Both losses are minimized. `estimate` is the quantity between the data and
    the generator that the critic's maximum stands for; `estimates` says in words
    which one, for the title of a plot. A class variable `title`, if there is one, names the
    method in reports.
    """

    estimates: ClassVar[str]

    def critic_loss(self, real: Array, fake: Array) -> Scalar: ...

    def generator_loss(self, fake: Array) -> Scalar: ...

    def estimate(self, real: Array, fake: Array) -> Scalar: ...


class PairedObjective(Protocol):
    """Losses of scores in pairs: sample i of the real batch against sample i of the fake one.

    As `Objective`, with the scores of real samples in the generator's loss as well, which
    makes `generator_step` ask for real samples. `paired` tells the two kinds apart.
    """

    estimates: ClassVar[str]
    paired: ClassVar[bool] = True

    def critic_loss(self, real: Array, fake: Array) -> Scalar: ...

    def generator_loss(self, fake: Array, real: Array) -> Scalar: ...

    def estimate(self, real: Array, fake: Array) -> Scalar: ...


def is_paired(objective: Objective | PairedObjective) -> TypeGuard[PairedObjective]:
    """Does the generator's loss compare each fake sample with a real one?

    Example:
      >>> from wgan_jax.objectives import RelativisticPairing, Wasserstein
      >>> is_paired(RelativisticPairing()), is_paired(Wasserstein())
      (True, False)
    """
    return getattr(objective, "paired", False)
