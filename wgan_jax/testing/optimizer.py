"""The contract of an optimizer, as both players use one."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from wgan_jax.testing import programs
from wgan_jax.testing.assertions import (
    assert_arrays_only,
    assert_finite,
    assert_same_structure,
    is_floating,
    run_properties,
)
from wgan_jax.testing.weight_bounds import assert_weights_bounded
from wgan_jax.types import Array, PyTree
from wgan_jax.validation import check_part

_STEPS = 100  # in which gradients may be accumulated, or a rate may rise


class _Case(NamedTuple):
    tx: optax.GradientTransformation
    params: PyTree
    clip: float | Array | None
    clip_mask: PyTree
    seed: int
    rtol: float

    def gradient(self, size: float = 1.0) -> PyTree:
        leaves, treedef = jax.tree.flatten(self.params)
        keys = jax.random.split(jax.random.key(self.seed), len(leaves))
        drawn = [
            (size * jax.random.normal(k, w.shape, w.dtype)).astype(w.dtype)
            for k, w in zip(keys, leaves, strict=True)
        ]
        return jax.tree.unflatten(treedef, drawn)

    def step(self, gradient: PyTree, state: PyTree, params: PyTree) -> tuple[PyTree, PyTree]:
        updates, state = self.tx.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    def arguments(self) -> tuple[PyTree, PyTree, PyTree]:
        return self.gradient(), self.tx.init(self.params), self.params


def check_optimizer(
    tx: optax.GradientTransformation,
    params: PyTree,
    *,
    clip: float | Array | None = None,
    clip_mask: PyTree = None,
    seed: int = 0,
    rtol: float = 1e-5,
    skip: Collection[str] = (),
) -> None:
    """Raise AssertionError unless `tx` can be a player's optimizer.

    Properties, by the names that `skip` takes: `state` (arrays only), `kind`
    (a step keeps structure, shapes and dtypes of weights and state), `finite`,
    `purity`, `jit`, `export`, and with `clip` also `weight_bounds`, without it
    `descent` (over 100 steps weights go against the gradient).

    Args:
      tx: to be checked.
      params: weights like those that it will see.
      clip: after every step, gradients small or huge, each weight must lie in [-clip, clip],
        exactly, with the bound rounded to the dtype of the weight.
      clip_mask: a tree of booleans, or a function from weights to one: where it must.
      seed: of the gradients.
      rtol: room for rounding between programs.
      skip: properties to leave out.

    Raises:
      AssertionError: the first property that fails, with values.
      ValueError: a property to skip that there is not, or no optimizer.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from wgan_jax import clip_weights
      >>> weights = {"w": jnp.array([0.003, -0.2])}
      >>> tx = optax.chain(optax.sgd(0.1), clip_weights(0.01))
      >>> check_optimizer(tx, weights, clip=0.01)
      >>> check_optimizer(optax.chain(optax.clip(0.01), optax.sgd(0.1)), weights, clip=0.01)
      Traceback (most recent call last):
      AssertionError: check_optimizer, weight_bounds (every weight stays in the box): after ...
    """
    __tracebackhide__ = True
    check_part(tx, "optimizer", "init", "update")
    case = _Case(tx, params, clip, clip_mask, seed, rtol)
    run_properties("check_optimizer", _PROPERTIES, case, skip)


def _state(case: _Case) -> None:
    """its state holds arrays only."""
    assert_arrays_only(case.tx.init(case.params), "the state of the optimizer")


def _kind(case: _Case) -> None:
    """a step keeps structure, shapes and dtypes."""
    gradient, state, params = case.arguments()
    moved, after = case.step(gradient, state, params)
    assert_same_structure(moved, params, "the weights after a step")
    assert_same_structure(after, state, "the state of the optimizer after a step")


def _finite(case: _Case) -> None:
    """zero gradients give finite updates."""
    gradient, state, params = case.arguments()
    moved, after = case.step(jax.tree.map(jnp.zeros_like, gradient), state, params)
    assert_finite(moved, "the weights after a gradient of zero")
    assert_finite(after, "the state of the optimizer after a gradient of zero")


def _weight_bounds(case: _Case) -> None:
    """every weight stays in the box."""
    if case.clip is None:
        return
    step = jax.jit(case.step)
    for size in (1e-4, 1.0, 1e4):
        state, params = case.tx.init(case.params), case.params
        for _ in range(3):
            params, state = step(case.gradient(size), state, params)
            assert_weights_bounded(
                params, case.clip, case.clip_mask, f"after a step by gradients of size {size:g}"
            )


def _purity(case: _Case) -> None:
    """same input, same output, and the input is left alone."""
    programs.assert_pure(case.step, case.arguments, "a step")


def _jit(case: _Case) -> None:
    """compiled and eager agree."""
    floats = [is_floating(w) for w in jax.tree.leaves(case.params)]
    rtol = case.rtol if all(floats) else 0.0
    programs.assert_jit_is_eager(case.step, case.arguments, rtol, "a step")


def _export(case: _Case) -> None:
    """a step can be exported."""
    programs.assert_exports(case.step, case.arguments, case.rtol, "a step")


def _descent(case: _Case) -> None:
    """weights go against the gradient."""
    if case.clip is not None:  # `clip_weights` alone passes gradients on as they are
        return

    def end(gradient: PyTree) -> PyTree:
        def turn(carry: tuple[PyTree, PyTree], _: None) -> tuple[tuple[PyTree, PyTree], None]:
            params, state = carry
            return case.step(gradient, state, params), None

        start = case.params, case.tx.init(case.params)
        return lax.scan(turn, start, length=_STEPS)[0][0]

    gradient = case.gradient()
    # What a decay does to weights is the same both ways.
    along, against = (
        jax.jit(end)(jax.tree.map(lambda g: sign * g, gradient))  # noqa: B023
        for sign in (1, -1)
    )
    moved = sum(
        float((g.astype(jnp.float32) * (b - a).astype(jnp.float32)).sum())
        for g, a, b in zip(*map(jax.tree.leaves, (gradient, along, against)), strict=True)
    )
    assert moved != 0, (
        f"{_STEPS} steps along a gradient and {_STEPS} against it lead to the same weights: a "
        f"learning rate of 0?"
    )
    assert moved > 0, (
        f"after {_STEPS} steps the weights have gone up the gradient: a missing sign, as in "
        f"optax.scale(0.1) for optax.scale(-0.1)? A mere part of a chain may skip `descent`"
    )


_PROPERTIES = {
    "state": _state,
    "kind": _kind,
    "finite": _finite,
    "weight_bounds": _weight_bounds,
    "purity": _purity,
    "jit": _jit,
    "export": _export,
    "descent": _descent,
}
