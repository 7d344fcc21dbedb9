"""Matchings of many points: each point is used once, and the cost is at least W1."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.tree_util import Partial
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from wgan_jax.estimate.matching import match
from wgan_jax.estimate.tree import Tree, draw_in

pytestmark = pytest.mark.once


def cells_of(x, y, levels=6):
    tree = Tree.of(np.concatenate([x, y])[: 8 << levels], levels)
    return tree, [np.asarray(tree.cell(jnp.asarray(z))) for z in (x, y)]


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("kind", ["equal", "moved", "atoms", "apart"])
def test_a_matching_is_one_to_one_and_costs_little_more_than_the_best(dim, kind):
    rng = np.random.default_rng(dim)
    x, y = rng.normal(size=(2, 1500, dim)).astype(np.float32)
    if kind == "atoms":
        x, y = np.round(x), np.round(y)
    y[:, 0] += {"moved": 0.3, "apart": 100.0}.get(kind, 0.0)
    tree, cells = cells_of(x, y, 5)
    parts = list(match(x, y, *cells, [*tree.levels, *tree.levels_above], 64))
    assert sum(map(len, parts)) == len(x)
    cost = sum(d.sum() for d in parts) / len(x)
    distances = cdist(x, y)
    best = distances[linear_sum_assignment(distances)].mean()
    assert best * (1 - 1e-6) <= cost <= 2.5 * best


def test_bits_of_cells_are_nodes_of_the_tree(key):
    x = np.asarray(jax.random.normal(key, (4096, 3)))
    tree = Tree.of(x, 6)
    drawn = draw_in(tree, Partial(lambda key, n: jax.random.normal(key, (n, 3))), key, 5000)
    assert drawn.x.shape == (8192, 3)
    leaves = np.asarray(tree.leaf(jnp.asarray(drawn.x)))
    np.testing.assert_array_equal(drawn.cells >> tree.levels[-1], leaves)
    assert len(np.unique(drawn.cells >> tree.levels_above[-1])) == 2 ** (6 - len(tree.levels_above))
