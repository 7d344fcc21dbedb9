"""Finds the statistics of a critic that follow the samples of a batch.

In training, real and fake samples are scored one after the other. What happens to a
critic's statistics in between is decided here, by what the critic does and not by names.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from wgan_jax.types import Array, Network, PyTree


def sequential(critic: Network, params: PyTree, stats: PyTree, x: PyTree) -> PyTree:
    """For each statistic, whether it takes in one half of a batch after the other.

    So do statistics that are computed from samples and do not enter the scores in
    training, such as the running means of batch norm. The critic is only traced.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from wgan_jax import DCGANCritic, from_linen
      >>> critic = from_linen(DCGANCritic(image_size=16, filters=2, spectral_norm=True))
      >>> x = jnp.ones((2, 16, 16, 3))
      >>> found = sequential(critic, *critic.init(jax.random.key(0), x), x)
      >>> {kind: all(jax.tree.leaves(of_kind)) for kind, of_kind in sorted(found.items())}
      {'batch_stats': True, 'spectral_stats': False}
    """
    leaves, treedef = jax.tree.flatten(stats)
    if not leaves:
        return stats

    def apply(params: PyTree, leaves: list[Array], x: PyTree) -> tuple[Array, list[Array]]:
        state = jax.tree.unflatten(treedef, leaves)
        scores, state = critic.apply(params, state, x, train=True, key=jax.random.key(0))
        return scores, jax.tree.leaves(state)

    follows = _varying(lambda rest, x: apply(rest[0], rest[1], x)[1], (params, leaves), x)
    ours = [leaf for leaf, does in zip(leaves, follows, strict=True) if does]

    def scores(rest: tuple[PyTree, list[Array], PyTree], ours: list[Array]) -> list[Array]:
        taken = iter(ours)
        merged = [next(taken) if f else leaf for leaf, f in zip(rest[1], follows, strict=True)]
        return [apply(rest[0], merged, rest[2])[0]]

    enters = bool(ours) and any(_varying(scores, (params, leaves, x), ours))
    return jax.tree.unflatten(treedef, [does and not enters for does in follows])


def for_second(chain: PyTree, before: PyTree, after_first: PyTree) -> PyTree:
    """The statistics by which the second half is scored."""
    return jax.tree.map(lambda c, old, new: new if c else old, chain, before, after_first)


def after_both(chain: PyTree, after_first: PyTree, after_second: PyTree) -> PyTree:
    """The statistics after both halves; those that are shared are the mean of two proposals.

    Statistics that come from the weights alone have one proposal, given twice.
    """

    def merge(c: bool, first: Array, second: Array) -> Array:
        is_float = jnp.issubdtype(second.dtype, jnp.floating)
        return second if c or not is_float else (first + second) / 2

    return jax.tree.map(merge, chain, after_first, after_second)


def _varying(
    function: Callable[[PyTree, PyTree], list[Array]], fixed: PyTree, moved: PyTree
) -> list[bool]:
    """Which outputs depend on `moved`: under vmap over it, those that are batched."""
    found: list[list[bool]] = []

    @jax.custom_batching.custom_vmap
    def look(outputs: list[Array]) -> list[Array]:
        return outputs

    @look.def_vmap
    def _(axis_size: int, in_batched: list, outputs: list[Array]) -> tuple[list, list]:
        found.append(list(in_batched[0]))
        return outputs, in_batched[0]

    spec = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), (fixed, moved))
    many = jax.tree.map(lambda x: jax.ShapeDtypeStruct((1, *x.shape), x.dtype), spec[1])
    outputs = jax.eval_shape(
        jax.vmap(lambda fixed, moved: look(function(fixed, moved)), (None, 0)), spec[0], many
    )
    return found[0] if found else [False] * len(outputs)
