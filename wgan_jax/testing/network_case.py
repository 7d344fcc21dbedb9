"""A network under check, with the inputs that its properties use."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from wgan_jax.testing.assertions import is_floating
from wgan_jax.testing.draws import equations
from wgan_jax.types import Array, Network, PyTree


@dataclasses.dataclass(frozen=True)
class Case:
    """Arguments of `check_network`, shared by its properties."""

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
        """Return `apply` as a function of arrays, and a function that makes its arguments."""

        def function(params: PyTree, stats: PyTree, x: PyTree, key: Array) -> Any:
            made = self.network.apply(params, stats, x, train=train, key=key if train else None)
            return pair_of(made, "apply must return a pair (y, stats)")

        return function, lambda: (self.params, self.stats, self.x, self.key(1))

    @functools.cached_property
    def tolerance(self) -> float:
        """Tolerance for rounding: `rtol`, or what half precision needs if it is used."""
        program = jax.make_jaxpr(self.apply(True)[0])(*self.apply(True)[1]())
        computed = [out.aval for equation in equations(program) for out in equation.outvars]
        floats = [x.dtype for x in computed if hasattr(x, "dtype") and is_floating(x)]
        return max([self.rtol, *(2 * float(jnp.finfo(dtype).eps) for dtype in floats)])

    @functools.cached_property
    def _compiled(self) -> dict[bool, Callable[..., tuple[PyTree, PyTree]]]:
        return {train: jax.jit(self.apply(train)[0]) for train in (True, False)}

    def compiled(self, train: bool) -> tuple[Callable[..., tuple[PyTree, PyTree]], Callable]:
        """Return the same, compiled once for all properties."""
        return self._compiled[train], self.apply(train)[1]

    @functools.cached_property
    def _gradients(self) -> dict[bool, Callable[[PyTree, PyTree], tuple[PyTree, list[Array]]]]:
        return {train: jax.jit(functools.partial(self._gradient, train)) for train in (True, False)}

    def gradients(self, train: bool, params: PyTree, x: PyTree) -> tuple[PyTree, list[Array]]:
        """Return gradients of a random combination of outputs, as (weights, floats of the input).

        A plain sum would not do: that of a softmax is always 1.
        """
        return self._gradients[train](params, x)

    def _gradient(self, train: bool, params: PyTree, x: PyTree) -> tuple[PyTree, list[Array]]:
        def combination(params: PyTree, floats: list[Array]) -> Array:
            y = self.apply(train)[0](params, self.stats, with_floats(x, floats), self.key(1))[0]
            return self._combined(y)

        return jax.grad(combination, (0, 1))(params, floats_of(x))

    def _combined(self, y: PyTree) -> Array:
        """Return a random linear combination of the values of an output."""
        total = jnp.zeros((), jnp.float32)
        for i, leaf in enumerate(floats_of(y)):
            weights = jax.random.normal(jax.random.fold_in(self.key(6), i), leaf.shape)
            total += (leaf.astype(jnp.float32) * weights.astype(jnp.float32)).sum()
        return total

    def combination(self, train: bool, params: PyTree, x: PyTree) -> float:
        """Return the value that `gradients` differentiates."""
        return float(self._combined(self.compiled(train)[0](params, self.stats, x, self.key(1))[0]))


def pair_of(made: Any, expected: str) -> tuple[Any, Any]:
    """Return what a function of a network returned, which must be a pair."""
    assert isinstance(made, tuple | list), f"{expected}, got {type(made).__name__}"
    assert len(made) == 2, f"{expected}, got {len(made)} values"
    return made[0], made[1]


def floats_of(x: PyTree) -> list[Array]:
    """Return the leaves that have a gradient."""
    return [leaf for leaf in jax.tree.leaves(x) if is_floating(leaf)]


def with_floats(x: PyTree, floats: list[Array]) -> PyTree:
    """Replace the floating-point leaves of `x`; labels stay."""
    rest = iter(floats)
    return jax.tree.map(lambda leaf: next(rest) if is_floating(leaf) else leaf, x)


def at_zero(x: PyTree) -> PyTree:
    """Zero the floating-point leaves, where norms, roots and quotients lose their gradient."""
    return with_floats(x, [jnp.zeros_like(leaf) for leaf in floats_of(x)])


def first_row(x: PyTree) -> PyTree:
    """Return a batch of one."""
    return jax.tree.map(lambda leaf: leaf[:1], x)
