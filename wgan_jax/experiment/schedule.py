"""How a run is cut into compiled pieces."""

from __future__ import annotations

from typing import NamedTuple

from wgan_jax.experiment.config import Config


class Piece(NamedTuple):
    """`length` generator iterations of `n_critic` critic steps: the shape of one program."""

    length: int
    n_critic: int


def next_piece(config: Config, step: int) -> Piece:
    """The piece that starts at generator iteration `step`.

    A function of the step alone, so a run that goes on from any boundary is cut
    as if it had never stopped. At most three shapes occur: whole chunks, single
    iterations where a whole chunk does not fit, and single warm-up iterations.
    """
    warmup = config.warmup
    if warmup is not None and warmup.covers(step):
        return Piece(1, warmup.n_critic)
    length = min(config.chunk, config.log_every)
    fits = step % length == 0 and step + length <= config.steps
    if warmup is not None:
        fits = fits and not any(warmup.covers(i) for i in range(step, step + length))
    return Piece(length if fits else 1, config.n_critic)


def crosses(every: int, before: int, after: int) -> bool:
    """Whether a multiple of `every` lies in (before, after]."""
    return after // every > before // every
