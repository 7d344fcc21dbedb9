"""A binary tree that quantizes a distribution of few dimensions, and the cells of draws in it."""

from __future__ import annotations

import itertools
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.estimate.pair import BLOCK
from wgan_jax.types import Array

_BITS = (7, 3, 3)  # of the grid in each leaf along each axis, in 1, 2 and 3 dimensions
_ABOVE = 2  # levels of nodes above the leaves that are cells as well


class Tree(NamedTuple):
    """A binary tree: from node i a point goes to 2 i + 1, or to 2 i + 2 if x[axis] > cut.

    Attributes:
      axes: [2^levels - 1].
      cuts: [2^levels - 1].
      centers: centers of the leaves [2^levels, d]; adjacent leaves are mostly close in space.
      radii: largest distance [2^levels, 1] along an axis of a leaf's points from its center.
    """

    axes: Array
    cuts: Array
    centers: Array
    radii: Array

    @classmethod
    def of(cls, points: np.ndarray, levels: int) -> Tree:
        """Halve points [n, d] repeatedly across the widest axis; 2^levels divides n.

        Example:
          >>> import numpy as np
          >>> tree = Tree.of(np.array([[1.0], [4.0], [2.0], [3.0]], np.float32), 1)
          >>> tree.cuts.tolist(), tree.centers.tolist()
          ([2.5], [[1.5], [3.5]])
        """
        nodes, axes, cuts = points[None], [], []
        for _ in range(levels):
            axis = np.ptp(nodes, axis=1).argmax(1)
            along = np.take_along_axis(nodes, axis[:, None, None], 2)[:, :, 0]
            order = np.argsort(along, axis=1)
            half = order.shape[1] // 2
            axes.append(axis)
            cuts.append(np.take_along_axis(along, order[:, half - 1 : half + 1], 1).mean(1))
            nodes = np.take_along_axis(nodes, order[:, :, None], 1)
            nodes = nodes.reshape(2 * len(nodes), half, -1)
        split = jnp.asarray(np.concatenate(axes)), jnp.asarray(np.concatenate(cuts))
        centers = np.median(nodes, axis=1)
        radii = np.abs(nodes - centers[:, None]).max((1, 2))[:, None]
        tree = cls(*split, jnp.asarray(centers), jnp.asarray(radii))
        return tree._replace(centers=jnp.asarray(_recentered(tree, points)))

    @jax.jit
    def leaf(self, x: Array) -> Array:
        """The leaves [n] that points [n, d] fall in."""

        def down(at: int, node: Array) -> Array:  # nodes numbered by levels, from the root
            along = jnp.take_along_axis(x, self.axes[node][:, None], 1)[:, 0]
            return 2 * node + 1 + (along > self.cuts[node]).astype(node.dtype)

        leaves = len(self.centers)
        root = jnp.zeros(len(x), jnp.int32)
        return lax.fori_loop(0, leaves.bit_length() - 1, down, root) - (leaves - 1)

    @property
    def levels(self) -> list[int]:
        """Bits by which `cell` is shifted for cells within leaves, ascending, and for leaves."""
        d = self.centers.shape[1]
        return list(range(0, d * _BITS[d - 1] + 1, d))

    @property
    def levels_above(self) -> list[int]:
        """Bits by which `cell` is shifted for nodes above the leaves, ascending."""
        return [self.levels[-1] + up for up in range(1, _ABOVE + 1)]

    def cell(self, x: Array) -> Array:
        """Cells [n] of points [n, d]: the bits of the leaf, then those of a grid in it.

        The grid is numbered along a Z-shaped curve, so that the leading bits are a coarser grid.
        """
        leaf, (_, d) = self.leaf(x), x.shape
        bits = _BITS[d - 1]
        place = (x - self.centers[leaf]) / jnp.maximum(self.radii[leaf], 1e-30)
        grid = jnp.clip((place + 1) * 2 ** (bits - 1), 0, 2**bits - 1).astype(jnp.int32)
        for bit, axis in itertools.product(reversed(range(bits)), range(d)):
            leaf = 2 * leaf + (grid[:, axis] >> bit & 1)
        return leaf


def _recentered(tree: Tree, points: np.ndarray) -> np.ndarray:
    """Centers of the leaves; means where equal points (atoms) all went to one side of a cut."""
    centers = np.array(tree.centers)
    leaf = np.asarray(tree.leaf(jnp.asarray(points)))
    counts = np.bincount(leaf, minlength=len(centers))
    uneven = (counts != len(points) // len(centers)) & (counts > 0)
    sums = [np.bincount(leaf, column, len(centers)) for column in points.T]
    centers[uneven] = np.stack(sums, 1)[uneven] / counts[uneven, None]
    return centers


class Draws(NamedTuple):
    """Draws of a distribution, each with its cell.

    Attributes:
      x: [n, d].
      cells: [n].
    """

    x: np.ndarray
    cells: np.ndarray


def draw_in(tree: Tree, sampler: Any, key: Array, n: int) -> Draws:
    """Draw at least n samples, in full blocks.

    Raises:
      ValueError: some are not finite.
    """
    drawn = _draw_in(tree, sampler, key, -(-n // BLOCK))
    x, cells = (np.asarray(z).reshape(-1, *z.shape[2:]) for z in drawn)
    if not np.isfinite(x).all():
        raise ValueError("a sampler returned values that are not finite")
    return Draws(x, cells)


@partial(jax.jit, static_argnames="blocks")
def _draw_in(tree: Tree, sampler: Any, key: Array, blocks: int) -> tuple[Array, Array]:
    def block(i: Array) -> tuple[Array, Array]:
        x = sampler(jax.random.fold_in(key, i), BLOCK)
        return x, tree.cell(x)

    return lax.map(block, jnp.arange(blocks))
