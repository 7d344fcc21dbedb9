"""Exponential moving average of the generator's weights, kept in its optimizer state."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from wgan_jax.types import Array, GANState, PyTree


class EmaState(NamedTuple):
    """State of `track_ema`.

    Attributes:
      average: averaged weights.
    """

    average: PyTree


def track_ema(decay: float | Array) -> optax.GradientTransformation:
    """Track an average of the weights, average <- decay * average + (1 - decay) * w.

    Updates pass through unchanged. Put it last in a chain, so that it sees the
    update that will be applied. The average starts at the initial weights. After n
    updates these would have the share decay^n in it: most of an average of 0.999 for 690
    updates. `gan` and `vae` pass the extra argument `iteration` to `update`, with which
    the initial weights are left out, as in Adam's averages.

    Args:
      decay: in [0, 1); may be traced.

    Raises:
      ValueError: `decay` is outside [0, 1).

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = optax.chain(optax.sgd(1.0), track_ema(0.5))
      >>> w = jnp.array(1.0)
      >>> state = tx.init(w)
      >>> _, state = tx.update(jnp.array(1.0), state, w)  # w becomes 0
      >>> ema_of(state).item()
      0.5
      >>> _, state = tx.update(jnp.array(1.0), tx.init(w), w, iteration=jnp.int32(0))
      >>> ema_of(state).item()
      0.0

    References:
      Kingma and Ba, Adam: A Method for Stochastic Optimization, 2015, section 3.
    """
    if not isinstance(decay, jax.core.Tracer) and not 0 <= decay < 1:
        raise ValueError(f"the decay of an average must be in [0, 1), got {decay}")

    def init(params: PyTree) -> EmaState:
        return EmaState(jax.tree.map(lambda w: w.copy(), params))

    def update(
        updates: PyTree,
        state: EmaState,
        params: PyTree | None = None,
        *,
        iteration: Array | None = None,
        **_: Any,
    ):
        if params is None:
            raise ValueError("track_ema needs the weights: call update(updates, state, params)")
        moved = optax.apply_updates(params, updates)
        share: float | Array = 1.0 - decay
        if iteration is not None:  # divide by 1 - decay^n, exact also where decay is close to 1
            n = jnp.asarray(iteration, jnp.float32) + 1
            share = share / -jnp.expm1(n * jnp.log1p(-share))

        def average(new: Array, old: Array) -> Array:
            return optax.incremental_update(new, old, jnp.asarray(share, old.dtype))

        return updates, EmaState(jax.tree.map(average, moved, state.average))

    return optax.GradientTransformationExtraArgs(init, update)


def ema_of(opt_state: PyTree) -> PyTree | None:
    """Return the average that `track_ema` keeps in an optimizer state, None if there is none.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> ema_of(track_ema(0.9).init({"w": jnp.ones(2)}))["w"].tolist()
      [1.0, 1.0]
      >>> ema_of(optax.sgd(0.1).init({"w": jnp.ones(2)})) is None
      True
    """
    leaves = jax.tree.leaves(opt_state, is_leaf=lambda x: isinstance(x, EmaState))
    return next((leaf.average for leaf in leaves if isinstance(leaf, EmaState)), None)


def with_ema(state: GANState) -> GANState:
    """Replace the generator's weights by their average, for sampling.

    Without an average the state is returned unchanged. Running statistics are kept.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from wgan_jax import MLP, Wasserstein, from_linen, gan
      >>> model = gan(
      ...     from_linen(MLP(features=(4,), output_shape=(2,))),
      ...     from_linen(MLP(features=(4,))),
      ...     Wasserstein(),
      ...     generator_tx=optax.chain(optax.sgd(1.0), track_ema(0.9)),
      ...     critic_tx=optax.sgd(1.0),
      ...     latent=lambda key, n: jax.random.normal(key, (n, 2)),
      ... )
      >>> state = model.init(jax.random.key(0), jnp.zeros((4, 2)))
      >>> state, _ = model.generator_step(state, 4)
      >>> samples = model.generate(with_ema(state), jax.random.key(1), 3)
    """
    average = ema_of(state.generator.opt_state)
    if average is None:
        return state
    return state._replace(generator=state.generator._replace(params=average))
