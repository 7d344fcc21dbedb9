"""Scores of critics on validation samples, which none was fitted to: the best is remembered."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from wgan_jax.estimate.cone_ascent import Rows
from wgan_jax.estimate.pair import Pair, draw, scores
from wgan_jax.margins import held_out_difference
from wgan_jax.types import Array

_SHOWN = 1 << 14  # of the validation samples of each law
FIT, SEEN = 0.4, 0.5  # the rows of an array up to which are fitted to, and up to which validate


class Progress(NamedTuple):
    """The critic's score on validation samples after some steps, and that less its margin."""

    step: int
    score: float
    lower: float


class Fit(NamedTuple):
    """A critic that is 1-Lipschitz in standard units but for `rounding` of its scores."""

    critic: Any
    steps: int
    converged: bool
    history: list[Progress]
    rounding: float


class Judge:
    """Scores critics on validation samples, and remembers the best.

    It doubts a score by a share of its margin: the highest of many noisy scores would be chance,
    and little noise leaves little margin. Of near laws it takes more samples, and all of it.

    Attributes:
      best: critic so far.
      highest: its score, less what is doubted of it; above 0 where it tells the laws apart.
    """

    def __init__(self, seen: tuple[Any, Any], validation: list[Any], alpha: float, doubt: float):
        self.seen, self.highest = np.concatenate(seen), -np.inf
        self.best: Any = None
        self._validation, self._alpha, self._doubt = validation, alpha, doubt

    @classmethod
    def of(
        cls, pair: Pair, seen: tuple[Any, Any], key: Array, alpha: float, n: int, doubt: float
    ) -> Judge:
        held_out = [
            side.x if isinstance(side, Rows) else draw(side, one, n)
            for side, one in zip(pair.part(FIT, SEEN), jax.random.split(key), strict=True)
        ]
        return cls(seen, held_out, alpha, doubt)

    @property
    def points(self) -> np.ndarray:
        """Samples [n, d] that critics are judged by, as many as tell where cones are."""
        return np.concatenate([self.seen, *(np.asarray(x[:_SHOWN]) for x in self._validation)])

    def __call__(self, critic: Any) -> tuple[float, float]:
        """The score, and that less its margin."""
        quick = jax.tree_util.Partial(type(critic).quick, critic)
        range_, low, high = (scores(quick, x) for x in (self.seen, *self._validation))
        score = float(high.mean(dtype=np.float64) - low.mean(dtype=np.float64))
        clipped, margin = held_out_difference(high, low, range_, self._alpha)
        if score - self._doubt * margin > self.highest:
            self.best, self.highest = critic, score - self._doubt * margin
        return score, clipped - margin
