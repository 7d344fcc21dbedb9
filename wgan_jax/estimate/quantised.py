"""Two distributions of few dimensions, by millions of draws of each.

Let f be the Kantorovich potential between p and q. It is 1-Lipschitz, so that any matching of
n draws x of p with n draws y of q bounds its means:

    W1(p, q)  =  E_q f - E_p f,      (1/n) sum f(y_i) - f(x_i)  <=  (1/n) sum |y_i - x_i|

The potential is unknown, but varies by no more than the draws do, and its means are near their
expectations.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from wgan_jax.distances.exact import optimal_potentials, pairwise_distances
from wgan_jax.estimate.cone_ascent import ConeParams
from wgan_jax.estimate.matching import match
from wgan_jax.estimate.pair import Pair, draw
from wgan_jax.estimate.tree import Tree, draw_in
from wgan_jax.margins import bernstein_margin

LARGEST_DIM = 3
_LEVELS, _LEVELS_OF_CRITICS = 15, 12
_PER_LEAF = 8  # points of the pilot sample
_LEAVES_PER_GROUP, _FEWEST_GROUPS = 32, 256
_RISK_OF_SPREAD = 0.05  # fraction of the risk, for each of both spreads
_CAPS = (np.inf, 12.0, 3.0)  # of the potentials' range, in mean distances moved


class Quantised(NamedTuple):
    """Draws of both distributions, counted in the leaves of one tree and matched.

    Attributes:
      centers: centers of the leaves [k, d].
      weights_p: fraction of the draws of p in each leaf [k].
      weights_q: fraction of the draws of q in each leaf [k].
      n: number of draws of each.
      cost: mean distance between matched draws, never below W1 between the draws.
      moved: its part due to draws that are matched outside of their leaf.
      mass: fraction of these draws.
      spreads: mean and variance of the squared distances of the draws of p from a point fixed
        beforehand, and those of q.
      extent: largest distance of a draw of p from the origin, plus that of q.
    """

    centers: np.ndarray
    weights_p: np.ndarray
    weights_q: np.ndarray
    n: int
    cost: float
    moved: float
    mass: float
    spreads: tuple[tuple[float, float], ...]
    extent: float

    @classmethod
    def of(cls, pair: Pair, draws: int) -> Quantised:
        """Match at least `draws` of each of two samplers, in a tree of separate draws of both."""
        levels = int(np.clip(np.log2(draws / 128), 1, _LEVELS))
        half = _PER_LEAF * 2**levels // 2
        keys = pair.keys(5, 4)
        pilots = [draw(side, one, half) for side, one in zip(pair[:2], keys[:2], strict=True)]
        tree = Tree.of(np.concatenate(pilots), levels)
        drawn = [draw_in(tree, s, one, draws) for s, one in zip(pair[:2], keys[2:], strict=True)]
        (x, cells_x), (y, cells_y) = drawn
        n, leaf = len(x), tree.levels[-1]
        in_p, in_q = (np.bincount(c >> leaf, minlength=len(tree.centers)) / n for _, c in drawn)
        groups = max(len(tree.centers) // _LEAVES_PER_GROUP, _FEWEST_GROUPS)
        levels_of_match = [*tree.levels, *tree.levels_above]
        matched = match(x, y, cells_x, cells_y, levels_of_match, groups)
        sums = np.array([(d.sum(), len(d)) for d in matched]) / n
        moved, mass = sums[len(tree.levels) :].sum(0)
        spreads = [_spread(z - pilot.mean(0)) for z, pilot in zip((x, y), pilots, strict=True)]
        extent = sum(float(_squares(z).max()) ** 0.5 for z in (x, y))
        centers = np.asarray(tree.centers, np.float64)
        cost = float(sums[:, 0].sum())
        return cls(centers, in_p, in_q, n, cost, float(moved), float(mass), tuple(spreads), extent)

    @property
    def step(self) -> np.ndarray:
        """The step from the mean of p to that of q."""
        return (self.weights_q - self.weights_p) @ self.centers

    def upper(self, alpha: float, diameter: float | None) -> float:
        """An upper bound on W1 that fails with probability at most alpha.

        Bernstein's inequality for the mean of a potential f. Its variance is at most
        E |x - c|^2 for any c, because f is 1-Lipschitz, and that expectation has a margin of
        its own. The range of f is at most the `diameter` of a set that contains both
        distributions. Without it, twice the extent of the draws is assumed.

        References:
          Boucheron, Lugosi and Massart, Concentration Inequalities, 2013, theorem 2.10.
        """
        width = 2 * self.extent if diameter is None else diameter
        at_spread = _RISK_OF_SPREAD * alpha
        variance = sum(
            mean + bernstein_margin(variance, width**2, self.n, at_spread)
            for mean, variance in self.spreads
        )
        goal = math.log(1 / (alpha - 2 * at_spread))
        return self.cost + math.sqrt(2 * variance * goal / self.n) + width * goal / (3 * self.n)

    def critics(self, k: int) -> list[ConeParams]:
        """Potentials of the transport of the surplus of each distribution, k cones each.

        Without a cap they are optimal for the counts, whose noise moves mass between far
        leaves. With distances capped they vary by no more than the cap: this trades the score of
        mass that moves further for a lower variance.
        """
        merged = 2 ** max(int(np.log2(len(self.centers))) - _LEVELS_OF_CRITICS, 0)
        a, b = (side.reshape(-1, merged).sum(1) for side in (self.weights_p, self.weights_q))
        points = self.centers.reshape(len(a), merged, -1).mean(1)
        if self.moved == 0:
            return []
        middles = np.arange(k) + 0.5
        x, y = (points[_at(ends, middles)] for ends in _ends(a, b, k))
        distances, candidates = pairwise_distances(x, y), []
        for cap in _CAPS:
            limit = cap * self.moved / self.mass
            best = optimal_potentials(np.minimum(distances, limit))
            for centers, potential, sign in ((x, best.phi, 1.0), (y, best.psi, -1.0)):
                leaves = centers, -potential, sign, limit - potential.max()
                candidates.append(ConeParams(*(jnp.asarray(z, jnp.float32) for z in leaves)))
        return candidates


def _ends(a: np.ndarray, b: np.ndarray, units: int) -> list[np.ndarray]:
    """Where the surplus of each point ends on a line of length `units`."""
    surplus = [np.maximum(z, 0) for z in (a - b, b - a)]
    return [np.cumsum(s) * (units / s.sum()) for s in surplus]


def _at(ends: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Indices of the points at positions on that line."""
    return np.minimum(np.searchsorted(ends, where, side="right"), len(ends) - 1)


def _spread(x: np.ndarray) -> tuple[float, float]:
    """Mean and variance of the squared lengths of x [n, d]."""
    squares = _squares(x)
    return float(squares.mean()), float(squares.var())


def _squares(x: np.ndarray) -> np.ndarray:
    return np.einsum("nd,nd->n", x, x, dtype=np.float64)
