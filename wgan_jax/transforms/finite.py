"""Stops values that are not finite before they reach weights or an optimizer's memory.

One infinite gradient leaves RMSProp's second moment infinite for good, and clipping
turns an infinite weight into a plausible one. So the whole of a player's step is
left out instead, and counted.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from wgan_jax.types import Array, Metrics, Player, PyTree


class SkipState(NamedTuple):
    """What `skip_non_finite` keeps.

    Attributes:
      skipped: how many steps were left out, an int32 scalar.
      inner: the state of the optimizer within.
    """

    skipped: Array
    inner: PyTree


def skip_non_finite(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """Leave out every step whose gradient, update or next optimizer state is not finite.

    The update is then zero and the optimizer's state stays. Around a whole chain,
    `clip_weights` included. `optax.apply_if_finite` looks at gradients alone, whose
    square may still overflow in a second moment, and gives in after some time.

    Args:
      tx: the optimizer; its hyper-parameters may be traced.

    Returns:
      An `optax.GradientTransformation` whose state is a `SkipState`. Under `vmap`
      each member leaves out its own steps.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = skip_non_finite(optax.sgd(0.1, momentum=0.9))
      >>> w = jnp.ones(2)
      >>> u, state = tx.update(jnp.array([1.0, jnp.inf]), tx.init(w), w)
      >>> float(jnp.abs(u).max()), int(num_skipped(state))
      (0.0, 1)
    """

    def init(params: PyTree) -> SkipState:
        return SkipState(jnp.zeros((), jnp.int32), tx.init(params))

    def update(updates: PyTree, state: SkipState, params: PyTree | None = None, **extra: Any):
        moved, inner = optax.with_extra_args_support(tx).update(
            updates, state.inner, params, **extra
        )
        good = _is_finite(updates) & _is_finite(moved) & _is_finite(inner)
        moved = jax.tree.map(lambda u: jnp.where(good, u, jnp.zeros_like(u)), moved)
        inner = _choose(good, inner, state.inner)
        return moved, SkipState(state.skipped + jnp.int32(~good), inner)

    return optax.GradientTransformationExtraArgs(init, update)


def num_skipped(opt_state: PyTree) -> Array | None:
    """How many steps `skip_non_finite` has left out; None where it is not the outermost.

    Example:
      >>> import optax
      >>> int(num_skipped(skip_non_finite(optax.sgd(0.1)).init({"w": jnp.ones(2)})))
      0
    """
    return opt_state.skipped if isinstance(opt_state, SkipState) else None


def revert_if_skipped(before: Player, after: Player) -> Player:
    """`after`, or where its step was left out `before`, running statistics included.

    Without `skip_non_finite` it is `after` always.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = skip_non_finite(optax.sgd(0.1))
      >>> w, stats = jnp.ones(()), jnp.zeros(())
      >>> before = Player(w, stats, tx.init(w))
      >>> _, opt_state = tx.update(jnp.array(jnp.nan), before.opt_state, w)
      >>> after = revert_if_skipped(before, Player(w, jnp.array(jnp.nan), opt_state))
      >>> after.stats.item(), int(num_skipped(after.opt_state))
      (0.0, 1)
    """
    count, former = num_skipped(after.opt_state), num_skipped(before.opt_state)
    if count is None or former is None:
        return after
    good = count == former
    return Player(
        _choose(good, after.params, before.params),
        _choose(good, after.stats, before.stats),
        after.opt_state,
    )


def skip_metrics(name: str, player: Player) -> Metrics:
    """The count of a player's left-out steps, by its name; nothing without `skip_non_finite`.

    Example:
      >>> import optax
      >>> w = jnp.ones(2)
      >>> player = Player(w, {}, skip_non_finite(optax.sgd(0.1)).init(w))
      >>> {name: count.item() for name, count in skip_metrics("critic", player).items()}
      {'critic/skipped': 0.0}
    """
    skipped = num_skipped(player.opt_state)
    return {} if skipped is None else {f"{name}/skipped": skipped.astype(jnp.float32)}


def _is_finite(tree: PyTree) -> Array:
    leaves = [x for x in jax.tree.leaves(tree) if jnp.issubdtype(jnp.result_type(x), jnp.inexact)]
    return jnp.array([jnp.isfinite(x).all() for x in leaves]).all()


def _choose(good: Array, new: PyTree, old: PyTree) -> PyTree:
    return jax.tree.map(lambda a, b: jnp.where(good, a, b), new, old)
