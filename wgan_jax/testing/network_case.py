"""A network under check, with inputs to try it on."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from wgan_jax.testing.assertions import is_floating
from wgan_jax.types import Array, Network, PyTree


@dataclasses.dataclass(frozen=True)
class Case:
    """What the properties of `check_network` share."""

    network: Network
    x: PyTree
    scores: bool
    lipschitz: float | None
    compute_dtype: Any
    seed: int
    rtol: float
    params: PyTree
    stats: PyTree

    def key(self, purpose: int) -> Array:
        return jax.random.fold_in(jax.random.key(self.seed), purpose)

    def apply(self, train: bool) -> tuple[Callable[..., tuple[PyTree, PyTree]], Callable]:
        """`apply` as a function of arrays alone, and its arguments made afresh."""

        def function(params: PyTree, stats: PyTree, x: PyTree, key: Array) -> Any:
            return self.network.apply(params, stats, x, train=train, key=key if train else None)

        return function, lambda: (self.params, self.stats, self.x, self.key(1))

    @functools.cached_property
    def _compiled(self) -> dict[bool, Callable[..., tuple[PyTree, PyTree]]]:
        return {train: jax.jit(self.apply(train)[0]) for train in (True, False)}

    def compiled(self, train: bool) -> tuple[Callable[..., tuple[PyTree, PyTree]], Callable]:
        """The same, compiled once for all properties."""
        return self._compiled[train], self.apply(train)[1]

    @functools.cached_property
    def _gradients(self) -> dict[bool, Callable[[PyTree, PyTree], tuple[PyTree, list[Array]]]]:
        return {train: jax.jit(functools.partial(self._gradient, train)) for train in (True, False)}

    def gradients(self, train: bool, params: PyTree, x: PyTree) -> tuple[PyTree, list[Array]]:
        """Gradients of a random combination of the outputs, as (weights, floats of the input).

        A sum would not do: that of a softmax is 1, whatever its input.
        """
        return self._gradients[train](params, x)

    def _gradient(self, train: bool, params: PyTree, x: PyTree) -> tuple[PyTree, list[Array]]:
        def combination(params: PyTree, floats: list[Array]) -> Array:
            y = self.apply(train)[0](params, self.stats, with_floats(x, floats), self.key(1))[0]
            return self._combined(y)

        return jax.grad(combination, (0, 1))(params, floats_of(x))

    def _combined(self, y: PyTree) -> Array:
        """A random combination of the numbers of an output."""
        total = jnp.zeros((), jnp.float32)
        for i, leaf in enumerate(floats_of(y)):
            weights = jax.random.normal(jax.random.fold_in(self.key(6), i), leaf.shape)
            total += (leaf.astype(jnp.float32) * weights.astype(jnp.float32)).sum()
        return total

    def combination(self, train: bool, params: PyTree, x: PyTree) -> float:
        """That of which `gradients` are."""
        return float(self._combined(self.compiled(train)[0](params, self.stats, x, self.key(1))[0]))


def floats_of(x: PyTree) -> list[Array]:
    """The leaves with a gradient."""
    return [leaf for leaf in jax.tree.leaves(x) if is_floating(leaf)]


def with_floats(x: PyTree, floats: list[Array]) -> PyTree:
    """`x` with other floats; labels stay."""
    rest = iter(floats)
    return jax.tree.map(lambda leaf: next(rest) if is_floating(leaf) else leaf, x)


def at_zero(x: PyTree) -> PyTree:
    """`x` with all floats zero: where norms, roots and quotients lose their gradient."""
    return with_floats(x, [jnp.zeros_like(leaf) for leaf in floats_of(x)])


def first_row(x: PyTree) -> PyTree:
    """A batch of one."""
    return jax.tree.map(lambda leaf: leaf[:1], x)
