"""Model selection: scores critics on validation samples and remembers the best."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

from wgan_jax.estimate.cone_ascent import Rows
from wgan_jax.estimate.pair import Pair, draw, scores
from wgan_jax.margins import held_out_difference
from wgan_jax.types import Array

_SHOWN = 1 << 14  # validation samples of each distribution in `Judge.points`
FIT, SEEN = 0.4, 0.5  # ends of the rows of an array for fitting and for validation


class Progress(NamedTuple):
    """The critic's score on validation samples after some steps, and the score minus its margin."""

    step: int
    score: float
    lower: float


class Fit(NamedTuple):
    """A critic that is 1-Lipschitz in standardized units up to `rounding` of its scores."""

    critic: Any
    steps: int
    converged: bool
    history: list[Progress]
    rounding: float


class Judge:
    """Scores critics on validation samples, and remembers the best.

    Critics are ranked by their score minus `doubt` times its margin, since the highest of many
    noisy scores could be chance. For close distributions, `fit_cones` uses more samples and half
    of the margin.

    Attributes:
      best: best critic so far.
      highest: its score minus the doubted part; above 0 if it distinguishes the distributions.
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
        """Samples [n, d] from the range and validation sets, enough to find the active cones."""
        return np.concatenate([self.seen, *(np.asarray(x[:_SHOWN]) for x in self._validation)])

    def __call__(self, critic: Any) -> tuple[float, float]:
        """Return the score, and the score minus its margin."""
        quick = jax.tree_util.Partial(type(critic).quick, critic)
        range_, low, high = (scores(quick, x) for x in (self.seen, *self._validation))
        score = float(high.mean(dtype=np.float64) - low.mean(dtype=np.float64))
        clipped, margin = held_out_difference(high, low, range_, self._alpha)
        if score - self._doubt * margin > self.highest:
            self.best, self.highest = critic, score - self._doubt * margin
        return score, clipped - margin
