"""Detection of the critic's statistics that are updated from the samples of a batch.

In training, real and fake samples are scored one after the other. This module decides how
the critic's statistics carry over in between, by tracing the critic and not by names.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from wgan_jax.types import Array, Network, PyTree


def sequential(critic: Network, params: PyTree, stats: PyTree, x: PyTree) -> PyTree:
    """Return, for each statistic, whether one half of a batch updates it after the other.

    True for statistics that are computed from samples and do not affect the scores in
    training, such as the running means of batch norm. The critic is only traced.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from wgan_jax import DCGANCritic, from_linen
      >>> critic = from_linen(DCGANCritic(image_size=16, filters=2, spectral_norm=True))
      >>> x = jnp.ones((2, 16, 16, 3))
      >>> chain = sequential(critic, *critic.init(jax.random.key(0), x), x)
      >>> {name: all(jax.tree.leaves(tree)) for name, tree in sorted(chain.items())}
      {'batch_stats': True, 'spectral_stats': False}
    """
    leaves, treedef = jax.tree.flatten(stats)
    if not leaves:
        return stats

    def apply(params: PyTree, leaves: list[Array], x: PyTree) -> tuple[Array, list[Array]]:
        state = jax.tree.unflatten(treedef, leaves)
        scores, state = critic.apply(params, state, x, train=True, key=jax.random.key(0))
        return scores, jax.tree.leaves(state)

    varies = _varying(lambda rest, x: apply(rest[0], rest[1], x)[1], (params, leaves), x)
    varying = [leaf for leaf, v in zip(leaves, varies, strict=True) if v]

    def scores(rest: tuple[PyTree, list[Array], PyTree], varying: list[Array]) -> list[Array]:
        values = iter(varying)
        merged = [next(values) if v else leaf for leaf, v in zip(rest[1], varies, strict=True)]
        return [apply(rest[0], merged, rest[2])[0]]

    affects_scores = bool(varying) and any(_varying(scores, (params, leaves, x), varying))
    return jax.tree.unflatten(treedef, [v and not affects_scores for v in varies])


def for_second(chain: PyTree, before: PyTree, after_first: PyTree) -> PyTree:
    """Return the statistics with which the second half is scored."""
    return jax.tree.map(lambda c, old, new: new if c else old, chain, before, after_first)


def after_both(chain: PyTree, after_first: PyTree, after_second: PyTree) -> PyTree:
    """Return the statistics after both halves; shared ones are the mean of the two updates.

    Statistics that depend on the weights alone receive the same update twice.
    """

    def merge(c: bool, first: Array, second: Array) -> Array:
        is_float = jnp.issubdtype(second.dtype, jnp.floating)
        return second if c or not is_float else (first + second) / 2

    return jax.tree.map(merge, chain, after_first, after_second)


def _varying(
    function: Callable[[PyTree, PyTree], list[Array]], fixed: PyTree, moved: PyTree
) -> list[bool]:
    """Return which outputs depend on `moved`: those that are batched under vmap over it."""
    batched: list[list[bool]] = []

    @jax.custom_batching.custom_vmap
    def probe(outputs: list[Array]) -> list[Array]:
        return outputs

    @probe.def_vmap
    def _(axis_size: int, in_batched: list, outputs: list[Array]) -> tuple[list, list]:
        batched.append(list(in_batched[0]))
        return outputs, in_batched[0]

    spec = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), (fixed, moved))
    many = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), spec[1])
    outputs = jax.eval_shape(
        jax.vmap(lambda fixed, moved: probe(function(fixed, moved)), (None, 0)), spec[0], many
    )
    return batched[0] if batched else [False] * len(outputs)
