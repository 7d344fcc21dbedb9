"""The contract of an optimizer of either player."""

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

_STEPS = 100  # enough for gradient accumulation or a warmup


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
    (a step keeps the structure, shapes and dtypes of weights and state), `finite`,
    `purity`, `jit`, `export`, with `clip` also `weight_bounds`, and without it
    `descent` (100 steps move the weights against the gradient).

    Args:
      tx: the optimizer to check.
      params: weights like those it will update.
      clip: after every step, with gradients small or huge, each weight must lie in
        [-clip, clip], exactly, with the bound rounded to the dtype of the weight.
      clip_mask: tree of booleans, or function from weights to one: the weights to clip.
      seed: seed of the gradients.
      rtol: tolerance for rounding between programs.
      skip: properties to leave out.

    Raises:
      AssertionError: the first property that fails, with values.
      ValueError: an unknown property in `skip`, or an object that is not an optimizer.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> from wgan_jax import clip_weights
      >>> weights = {"w": jnp.array([0.003, -0.2])}
      >>> tx = optax.chain(optax.sgd(0.1), clip_weights(0.01))
      >>> check_optimizer(tx, weights, clip=0.01)
      >>> check_optimizer(optax.chain(optax.clip(0.01), optax.sgd(0.1)), weights, clip=0.01)
      Traceback (most recent call last):
      AssertionError: check_optimizer, weight_bounds (every weight stays in bounds): after ...
    """
    __tracebackhide__ = True
    check_part(tx, "optimizer", "init", "update")
    case = _Case(tx, params, clip, clip_mask, seed, rtol)
    run_properties("check_optimizer", _PROPERTIES, case, skip)


def _state(case: _Case) -> None:
    """the state contains only arrays."""
    assert_arrays_only(case.tx.init(case.params), "the state of the optimizer")


def _kind(case: _Case) -> None:
    """a step keeps the structure, shapes and dtypes of weights and state."""
    gradient, state, params = case.arguments()
    moved, after = case.step(gradient, state, params)
    assert_same_structure(moved, params, "a step changes the weights' structure or dtypes")
    assert_same_structure(after, state, "a step changes the state's structure or dtypes")


def _finite(case: _Case) -> None:
    """zero gradients give finite updates."""
    gradient, state, params = case.arguments()
    moved, after = case.step(jax.tree.map(jnp.zeros_like, gradient), state, params)
    assert_finite(moved, "the weights after a gradient of zero")
    assert_finite(after, "the state of the optimizer after a gradient of zero")


def _weight_bounds(case: _Case) -> None:
    """every weight stays in bounds."""
    if case.clip is None:
        return
    step = jax.jit(case.step)
    for size in (1e-4, 1.0, 1e4):
        state, params = case.tx.init(case.params), case.params
        for _ in range(3):
            params, state = step(case.gradient(size), state, params)
            assert_weights_bounded(
                params, case.clip, case.clip_mask, f"after a step with gradients of size {size:g}"
            )


def _purity(case: _Case) -> None:
    """equal inputs give equal outputs, and the input is not changed."""
    programs.assert_pure(case.step, case.arguments, "a step")


def _jit(case: _Case) -> None:
    """compiled and eager results agree."""
    leaves, rtol = jax.tree.leaves(case.params), 0.0
    if all(map(is_floating, leaves)):  # half precision needs more
        rtol = max([case.rtol, *(2 * float(jnp.finfo(w.dtype).eps) for w in leaves)])
    programs.assert_jit_is_eager(case.step, case.arguments, rtol, "a step")


def _export(case: _Case) -> None:
    """a step can be exported."""
    programs.assert_exports(case.step, case.arguments, case.rtol, "a step")


def _descent(case: _Case) -> None:
    """steps move the weights against the gradient."""
    if case.clip is not None:  # `clip_weights` alone passes gradients through
        return

    def end(gradient: PyTree) -> PyTree:
        def step(carry: tuple[PyTree, PyTree], _: None) -> tuple[tuple[PyTree, PyTree], None]:
            params, state = carry
            return case.step(gradient, state, params), None

        start = case.params, case.tx.init(case.params)
        return lax.scan(step, start, length=_STEPS)[0][0]

    gradient = case.gradient()
    # Weight decay is the same in both directions and cancels.
    along, against = (
        jax.jit(end)(jax.tree.map(lambda g: sign * g, gradient))  # noqa: B023
        for sign in (1, -1)
    )
    moved = jax.tree.map(
        lambda g, a, b: (g.astype(jnp.float32) * (b - a).astype(jnp.float32)).sum(),
        *(gradient, along, against),
    )
    assert any(jax.tree.leaves(moved)), (
        f"{_STEPS} steps along a gradient and {_STEPS} against it lead to the same weights: a "
        f"learning rate of 0?"
    )
    for path, distance in jax.tree_util.tree_leaves_with_path(moved):
        assert distance >= 0, (
            f"after {_STEPS} steps the weights{jax.tree_util.keystr(path)} have moved up the "
            f"gradient: a missing minus sign, as in optax.scale(0.1) for optax.scale(-0.1)? For "
            f"only a part of a chain, skip `descent`"
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
