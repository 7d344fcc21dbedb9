"""Transport between two distributions of few dimensions, quantized to the leaves of a tree.

    W1(p, q)  <=  E |x - a(x)|  +  W1(a p, a q)  +  E |y - a(y)|

for any map a to finitely many atoms, here the centers of leaves that a pilot sample fills
evenly. Counting draws is cheap enough for millions of them, where exact transport between
samples is limited to thousands.
"""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from wgan_jax.distances.exact import optimal_potentials, pairwise_distances
from wgan_jax.distances.plans import optimal_plan
from wgan_jax.estimate.cone_ascent import ConeParams
from wgan_jax.estimate.pair import Pair, draw
from wgan_jax.estimate.tree import Counted, Tree, count
from wgan_jax.margins import bernstein_margin, bounded_differences_margin

LARGEST_DIM = 3
_LEVELS, _LEVELS_OF_CRITICS = 15, 12
_PER_LEAF = 8  # points of the pilot sample
_UNITS, _FEWEST_UNITS = 1024, 256  # equal masses that exact transport moves at a time
_ROUNDS, _SHARE = 4, 0.75  # fraction of the mass moved in each round but the last
_CAPS = (np.inf, 12.0, 3.0)  # of the potentials' range, in mean distances moved


class Quantised(NamedTuple):
    """Both distributions on the leaves of one tree, and a nearly optimal plan between them.

    Attributes:
      centers: centers of the leaves [k, d].
      p: counted draws of p.
      q: counted draws of q.
      cost: cost of the plan between their weights, never below W1 between them.
      mass: mass that moves.
    """

    centers: np.ndarray
    p: Counted
    q: Counted
    cost: float
    mass: float

    @classmethod
    def of(cls, pair: Pair, draws: int) -> Quantised:
        """Count `draws` of each of two samplers in a tree built from separate draws of both."""
        levels = int(np.clip(np.log2(draws / 128), 1, _LEVELS))
        half = _PER_LEAF * 2**levels // 2
        keys = pair.keys(5, 4)
        pilot = [draw(side, one, half) for side, one in zip(pair[:2], keys[:2], strict=True)]
        tree = Tree.of(np.concatenate(pilot), levels)
        p, q = (count(s, tree, one, draws) for s, one in zip(pair[:2], keys[2:], strict=True))
        centers = np.asarray(tree.centers, np.float64)
        return cls(centers, p, q, *surplus_cost(p.weights, q.weights, centers))

    @property
    def step(self) -> np.ndarray:
        """The step from the mean of p to that of q."""
        return (self.q.weights - self.p.weights) @ self.centers

    def upper(self, alpha: float, diameter: float | None) -> float:
        """An upper bound on W1 that fails with probability at most alpha.

        The transport of the counts exceeds that of the quantized distributions on average, and
        the diameter of the atoms is known, so McDiarmid's margin holds at every number of
        draws. The margin of the distances from the atoms holds with the `diameter` of the
        distributions. Without it, none is assumed to exceed twice the furthest observed one or
        the extent of the draws of both, whichever is larger.
        """
        middle = (self.centers.max(0) + self.centers.min(0)) / 2
        across = 2 * float(np.linalg.norm(self.centers - middle, axis=1).max())
        n = min(self.p.n, self.q.n)
        moved = self.cost + bounded_differences_margin(across, n, alpha / 3)
        extent = self.p.reach + self.q.reach
        for side in (self.p, self.q):
            width = max(2 * side.furthest, extent) if diameter is None else diameter
            moved += side.mean + bernstein_margin(side.variance, width, side.n, alpha / 3)
        return moved

    def critics(self, k: int) -> list[ConeParams]:
        """Potentials of the transport of the surplus of each distribution, k cones each.

        Without a cap they are optimal for the counts, whose noise moves mass between far
        leaves. With distances capped they vary by no more than the cap: this trades the score of
        mass that moves further for a lower variance.
        """
        merged = 2 ** max(int(np.log2(len(self.centers))) - _LEVELS_OF_CRITICS, 0)
        a, b = (side.weights.reshape(-1, merged).sum(1) for side in (self.p, self.q))
        points = self.centers.reshape(len(a), merged, -1).mean(1)
        if self.cost == 0:
            return []
        middles = np.arange(k) + 0.5
        x, y = (points[_at(ends, middles)] for ends in _ends(a, b, k))
        distances, candidates = pairwise_distances(x, y), []
        for cap in _CAPS:
            limit = cap * self.cost / self.mass
            best = optimal_potentials(np.minimum(distances, limit))
            for centers, potential, sign in ((x, best.phi, 1.0), (y, best.psi, -1.0)):
                leaves = centers, -potential, sign, limit - potential.max()
                candidates.append(ConeParams(*(jnp.asarray(z, jnp.float32) for z in leaves)))
        return candidates


def surplus_cost(a: np.ndarray, b: np.ndarray, points: np.ndarray) -> tuple[float, float]:
    """Cost of a plan from masses a [n] to masses b [n] at points [n, d], and the mass it moves.

    Common mass stays. The surplus of each is cut into units of equal mass along the order of
    the points, exact transport pairs the units by their middles, and within a pair mass moves
    in that order. Mass may move far only because units are coarse, so the furthest part is cut
    again into finer ones. The result is a plan, so it costs at least W1.

    Example:
      >>> import numpy as np
      >>> surplus_cost(np.array([0.5, 0.5, 0]), np.array([0, 0.5, 0.5]), np.eye(3)[:, :1] * 3)
      (1.5, 0.5)
    """
    mass, cost = float(np.maximum(a - b, 0).sum()), 0.0
    if points.shape[1] == 1:  # sorting is optimal
        order = np.argsort(points[:, 0])
        above = np.cumsum((a - b)[order])[:-1]
        return float(np.abs(above) @ np.diff(points[order, 0])), mass
    units = min(_UNITS, max(len(points) // 4, _FEWEST_UNITS), len(points))
    for left in reversed(range(_ROUNDS)):
        if not np.maximum(a - b, 0).sum() > 1e-12:
            break
        size = float(np.maximum(a - b, 0).sum()) / units
        ends = _ends(a, b, units)
        middles = np.arange(units) + 0.5
        x, y = (points[_at(e, middles)] for e in ends)
        pair = optimal_plan(pairwise_distances(x, y)).columns
        start, stop, share = _moves(ends, pair)
        lengths = np.linalg.norm(points[start] - points[stop], axis=1)
        order = np.argsort(lengths)
        enough = int(np.searchsorted(np.cumsum(share[order]), _SHARE * units))
        stays = (lengths > lengths[order[min(enough, len(order) - 1)]]) & (left > 0)
        rest = size * share
        cost += float((rest * lengths)[~stays].sum())
        a = np.bincount(start[stays], rest[stays], len(points))
        b = np.bincount(stop[stays], rest[stays], len(points))
    return cost, mass


def _ends(a: np.ndarray, b: np.ndarray, units: int) -> list[np.ndarray]:
    """Where the surplus of each point ends on a line of length `units`."""
    surplus = [np.maximum(z, 0) for z in (a - b, b - a)]
    return [np.cumsum(s) * (units / s.sum()) for s in surplus]


def _at(ends: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Indices of the points at positions on that line."""
    return np.minimum(np.searchsorted(ends, where, side="right"), len(ends) - 1)


def _moves(ends: list[np.ndarray], pair: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Source point, target point and mass of each move, where unit i goes to unit pair[i]."""
    (ends_a, ends_b), units = ends, len(pair)
    back = np.argsort(pair)
    of = np.minimum(ends_b.astype(int), units - 1)
    cuts = np.concatenate([ends_a, ends_b - of + back[of], np.arange(units + 1)])
    cuts = np.unique(np.clip(cuts, 0, units))
    middle = (cuts[1:] + cuts[:-1]) / 2
    unit = np.minimum(middle.astype(int), units - 1)
    start, stop = _at(ends_a, middle), _at(ends_b, middle - unit + pair[unit])
    return start, stop, np.diff(cuts)
