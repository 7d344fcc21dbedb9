"""A binary tree that quantizes a distribution of few dimensions, and counts of draws in it."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.estimate.pair import BLOCK
from wgan_jax.types import Array


class Tree(NamedTuple):
    """A binary tree: from node i a point goes to 2 i + 1, or to 2 i + 2 if x[axis] > cut.

    Attributes:
      axes: [2^levels - 1].
      cuts: [2^levels - 1].
      centers: centers of the leaves [2^levels, d]; adjacent leaves are mostly close in space.
    """

    axes: Array
    cuts: Array
    centers: Array

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
        tree = cls(*split, jnp.asarray(np.median(nodes, axis=1)))
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


def _recentered(tree: Tree, points: np.ndarray) -> np.ndarray:
    """Centers of the leaves; means where equal points (atoms) all went to one side of a cut."""
    centers = np.array(tree.centers)
    leaf = np.asarray(tree.leaf(jnp.asarray(points)))
    counts = np.bincount(leaf, minlength=len(centers))
    uneven = (counts != len(points) // len(centers)) & (counts > 0)
    sums = [np.bincount(leaf, column, len(centers)) for column in points.T]
    centers[uneven] = np.stack(sums, 1)[uneven] / counts[uneven, None]
    return centers


class Counted(NamedTuple):
    """Statistics of `n` draws in the leaves of a tree.

    Attributes:
      weights: fraction of draws in each leaf, [leaves].
      n: number of draws.
      mean: mean distance of a draw from the center of its leaf.
      variance: variance of these distances.
      furthest: largest of these distances.
      reach: largest distance of a draw from the origin.
    """

    weights: np.ndarray
    n: int
    mean: float
    variance: float
    furthest: float
    reach: float


def count(sampler: Any, tree: Tree, key: Array, n: int) -> Counted:
    """Count draws in leaves: n of them, rounded up to full blocks."""
    blocks = -(-n // BLOCK)
    leaves, statistics = _count(sampler, tree, key, blocks)
    n = blocks * BLOCK
    sums, squares, furthest, reach = (np.asarray(z, np.float64) for z in statistics)
    mean = float(sums.sum() / n)
    if not np.isfinite(mean):
        raise ValueError("a sampler returned values that are not finite")
    variance = max(float(squares.sum() / n) - mean**2, 0.0)
    largest = float(furthest.max()), float(reach.max())
    return Counted(np.asarray(leaves, np.float64) / n, n, mean, variance, *largest)


@partial(jax.jit, static_argnames="blocks")
def _count(sampler: Any, tree: Tree, key: Array, blocks: int) -> tuple[Array, Any]:
    def count_block(leaves: Array, block: Array) -> tuple[Array, Any]:
        x = sampler(jax.random.fold_in(key, block), BLOCK)
        leaf = tree.leaf(x)
        distance = jnp.sqrt(((x - tree.centers[leaf]) ** 2).sum(1))
        reach = jnp.sqrt((x**2).sum(1).max())
        return leaves.at[leaf].add(1), (distance.sum(), (distance**2).sum(), distance.max(), reach)

    return lax.scan(count_block, jnp.zeros(len(tree.centers), jnp.int32), jnp.arange(blocks))
