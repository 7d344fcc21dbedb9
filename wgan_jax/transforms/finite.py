"""Skipping of steps with non-finite values, before these reach weights or optimizer state.

One infinite gradient makes RMSProp's second moment infinite forever, and clipping turns
an infinite weight into a plausible one. So the player's entire step is skipped and
counted instead.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from wgan_jax.types import Array, Metrics, Player, PyTree


class SkipState(NamedTuple):
    """State of `skip_non_finite`.

    Attributes:
      skipped: number of skipped steps, an int32 scalar.
      inner: state of the wrapped optimizer.
    """

    skipped: Array
    inner: PyTree


def skip_non_finite(tx: optax.GradientTransformation) -> optax.GradientTransformation:
    """Skip every step whose gradient, update or next optimizer state is not finite.

    The update is then zero and the optimizer state is kept. Wrap the entire chain,
    including `clip_weights`. `optax.apply_if_finite` only checks gradients, whose
    square may still overflow in a second moment, and gives up after some time.

    Args:
      tx: the optimizer; its hyperparameters may be traced.

    Returns:
      An `optax.GradientTransformation` whose state is a `SkipState`. Under `vmap`
      each member skips its own steps.

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
    """Return the number of steps skipped by `skip_non_finite`, None if it is not outermost.

    Example:
      >>> import optax
      >>> int(num_skipped(skip_non_finite(optax.sgd(0.1)).init({"w": jnp.ones(2)})))
      0
    """
    return opt_state.skipped if isinstance(opt_state, SkipState) else None


def revert_if_skipped(before: Player, after: Player) -> Player:
    """Return `before` if the optimizer skipped the step, else `after`, with running statistics.

    Without `skip_non_finite`, always return `after`.

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
    count, previous = num_skipped(after.opt_state), num_skipped(before.opt_state)
    if count is None or previous is None:
        return after
    good = count == previous
    return Player(
        _choose(good, after.params, before.params),
        _choose(good, after.stats, before.stats),
        after.opt_state,
    )


def skip_metrics(name: str, player: Player) -> Metrics:
    """Return a player's number of skipped steps as a metric; empty without `skip_non_finite`.

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
