"""Trains a critic between two fixed distributions: the inner loop of Algorithm 1."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from jax import lax

from wgan_jax.gan import gan
from wgan_jax.loop import Sampler, as_pytree, check_sizes, sample_batch
from wgan_jax.objectives import Objective
from wgan_jax.types import Array, GANState, Metrics, Network, Player, PyTree

_IDENTITY = Network(
    init=lambda key, z: ({}, {}),
    apply=lambda params, stats, z, *, train, key=None: (z, stats),
)


def fit_critic(
    critic: Network,
    objective: Objective,
    real: Sampler,
    fake: Sampler,
    *,
    critic_tx: optax.GradientTransformation,
    steps: int,
    batch_size: int,
    penalty: Callable[..., Array] | None = None,
) -> Callable[[Array], tuple[Player, Metrics]]:
    """Train a critic toward its optimum between two distributions.

    Args:
      critic: samples `x[n, ...]` to scores.
      objective: losses of the critic; its estimate is among the metrics.
      real: `(key, n) -> x[n, ...]`.
      fake: the same, in place of the generator.
      critic_tx: optax optimizer, ending in `clip_weights` for a clipped critic.
      steps: critic steps.
      batch_size: fresh samples of each distribution per step.
      penalty: as in `gan`.

    Returns:
      A pure `key -> (critic, metrics)`: the trained `Player`, and metrics stacked
      to [steps]. It can be jitted, and vmapped over keys.

    Raises:
      ValueError: a size is not a positive integer, or `gan` rejects an argument.

    Example:
      >>> import jax, optax
      >>> from wgan_jax import MLP, Wasserstein, clip_weights, from_linen
      >>> fit = fit_critic(
      ...     from_linen(MLP(features=(32,))),
      ...     Wasserstein(),
      ...     lambda key, n: jax.random.normal(key, (n, 1)),
      ...     lambda key, n: jax.random.normal(key, (n, 1)) + 3,
      ...     critic_tx=optax.chain(optax.rmsprop(1e-3), clip_weights(0.1)),
      ...     steps=20,
      ...     batch_size=64,
      ... )
      >>> critic, metrics = fit(jax.random.key(0))
      >>> metrics["critic/estimate"].shape
      (20,)
    """
    check_sizes(steps=steps, batch_size=batch_size)
    real = as_pytree(real)
    model = gan(
        critic=critic,
        generator=_IDENTITY,
        objective=objective,
        generator_tx=optax.identity(),
        critic_tx=critic_tx,
        latent=fake,
        penalty=penalty,
    )

    def batch(state: GANState) -> PyTree:
        return sample_batch(real, state.key, state.step.critic, batch_size)

    def fit(key: Array) -> tuple[Player, Metrics]:
        struct = jax.eval_shape(lambda key: real(key, batch_size), key)
        state = model.init(key, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), struct))

        def step(state: GANState, _: None) -> tuple[GANState, Metrics]:
            return model.critic_step(state, batch(state))

        state, metrics = lax.scan(step, state, length=steps)
        return state.critic, metrics

    return jax.jit(fit)
