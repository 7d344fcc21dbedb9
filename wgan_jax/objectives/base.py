"""What every objective offers."""

from __future__ import annotations

from typing import ClassVar, Protocol

from wgan_jax.types import Array, Scalar


class Objective(Protocol):
    """Losses of the two players, from the critic's scores [batch] alone.

    Both losses are minimised. `estimate` is the quantity between the data and
    the generator that the critic's maximum stands for; `estimates` says in words
    which one, for the title of a plot.
    """

    estimates: ClassVar[str]

    def critic_loss(self, real: Array, fake: Array) -> Scalar: ...

    def generator_loss(self, fake: Array) -> Scalar: ...

    def estimate(self, real: Array, fake: Array) -> Scalar: ...
