"""A matching of millions of points in few dimensions: its cost is at least W1 between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from wgan_jax.distances.exact import pairwise_distances
from wgan_jax.distances.plans import optimal_plan

_ROUNDS, _SHARE = 3, 0.75  # fraction of the points matched in each round but the last


def match(
    x: np.ndarray,
    y: np.ndarray,
    cells_x: np.ndarray,
    cells_y: np.ndarray,
    shifts: Sequence[int],
    groups: int = 1024,
) -> Iterator[np.ndarray]:
    """Match each of the points x [n, d] with one of y [n, d], and yield their distances.

    Points are matched within cells, level by level from fine to coarse ones. The rest is cut
    into groups of neighbors, exact transport pairs the groups by their middles, and the
    furthest quarter is cut again into finer ones. On a line, sorting is optimal.

    Args:
      x: points.
      y: as many other points.
      cells_x: cells [n] of the points x, as nonnegative integers. Those with close numbers
        should be close.
      cells_y: cells [n] of the points y.
      shifts: bits by which these are shifted to the right for the cells of each level.
      groups: number of groups of the points that no cell matches; the time of exact transport
        grows with its cube.

    Yields:
      The distances [m] between points matched at each level, then those between groups.

    Example:
      >>> import numpy as np
      >>> x, y = np.array([[0, 0], [5, 0], [9, 0]]), np.array([[4, 0], [7, 0], [2, 0]])
      >>> [d.tolist() for d in match(x, y, np.array([0, 1, 2]), np.array([1, 2, 0]), [0])]
      [[2.0, 1.0, 2.0]]
    """
    if x.shape[1] == 1:
        yield np.abs(np.sort(x[:, 0]) - np.sort(y[:, 0]))
        return
    x, cells_x = _in_order(x, cells_x)
    y, cells_y = _in_order(y, cells_y)
    for shift in shifts:
        a, b = cells_x >> shift, cells_y >> shift
        size = 0 if len(a) == 0 else int(max(a[-1], b[-1])) + 1
        in_a, in_b = np.bincount(a, minlength=size), np.bincount(b, minlength=size)
        rank = np.arange(len(a)) - (np.cumsum(in_a) - in_a)[a]
        paired = rank < in_b[a]
        partner = ((np.cumsum(in_b) - in_b)[a] + rank)[paired]
        yield _distances(x[paired], y[partner])
        alone = np.ones(len(y), bool)
        alone[partner] = False
        x, cells_x, y, cells_y = x[~paired], cells_x[~paired], y[alone], cells_y[alone]
    yield from _match_groups(x, y, groups)


def _match_groups(x: np.ndarray, y: np.ndarray, groups: int) -> Iterator[np.ndarray]:
    rounds = _ROUNDS
    while n := len(x):
        rounds -= 1
        groups = min(groups, n)
        ends = np.arange(groups + 1) * n // groups
        middles, sizes = (ends[:-1] + ends[1:]) // 2, np.diff(ends)
        pair = optimal_plan(pairwise_distances(x[middles], y[middles])).columns
        group = np.repeat(np.arange(groups), sizes)
        rank = np.arange(n) - ends[group]
        paired = np.flatnonzero(rank < sizes[pair[group]])  # sizes differ by at most one
        partner = ends[pair[group[paired]]] + rank[paired]
        lengths = _distances(x[paired], y[partner])
        if rounds > 0 and n > groups:  # points are far from their partners if groups are coarse
            near = lengths <= np.quantile(lengths, _SHARE)
            paired, partner, lengths = paired[near], partner[near], lengths[near]
        yield lengths
        x, y = np.delete(x, paired, 0), np.delete(y, partner, 0)


def _in_order(x: np.ndarray, cells: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    order = np.argsort(cells)
    return np.take(x, order, 0), cells[order]


def _distances(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    step = x - y
    return np.sqrt(np.einsum("nd,nd->n", step, step, dtype=np.float64))
