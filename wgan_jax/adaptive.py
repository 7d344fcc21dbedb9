"""Generator iterations that train the critic until it stops improving."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from wgan_jax.gan import GAN
from wgan_jax.loop import Sampler, as_pytree, check_sizes, sample_batch
from wgan_jax.types import Array, GANState, Metrics


class _Plateau(NamedTuple):
    state: GANState
    metrics: Metrics
    estimate: Array
    improvement: Array
    steps: Array


def scan_adaptive_steps(
    gan: GAN, *, block: int, most: int, tolerance: float, batch_size: int, length: int
) -> Callable[[GANState, Sampler], tuple[GANState, Metrics]]:
    """Run `length` generator iterations, each after training the critic to a plateau.

    The critic is trained in blocks of steps. It has reached a plateau when the mean
    estimate of a block exceeds that of the previous block by at most `tolerance`
    times its magnitude, so at least two blocks are trained. Estimates of single
    batches are noisy, so short blocks can stop early by chance.

    Args:
      gan: from `wgan_jax.gan`.
      block: critic steps between checks, at least 1.
      most: maximum critic steps per generator iteration, at least `2 * block`.
      tolerance: largest relative improvement that counts as a plateau, not negative.
      batch_size: samples per step.
      length: generator iterations.

    Returns:
      A jitted `(state, sampler) -> (state, metrics)` like that of `scan_steps`.
      The metric `critic/steps` is the number of critic steps taken.

    Raises:
      ValueError: a setting is out of range.

    Example:
      >>> import jax, optax
      >>> from wgan_jax import MLP, Wasserstein, clip_weights, from_linen, gan, toy
      >>> model = gan(
      ...     from_linen(MLP(features=(32,), output_shape=(2,))),
      ...     from_linen(MLP(features=(32,))),
      ...     Wasserstein(),
      ...     generator_tx=optax.rmsprop(5e-5),
      ...     critic_tx=optax.chain(optax.rmsprop(5e-4), clip_weights(0.01)),
      ...     latent=lambda key, n: jax.random.normal(key, (n, 2)),
      ... )
      >>> ring = toy.Ring()
      >>> state = model.init(jax.random.key(0), ring(jax.random.key(1), 64))
      >>> run = scan_adaptive_steps(
      ...     model, block=5, most=50, tolerance=0.05, batch_size=64, length=3)
      >>> state, metrics = run(state, ring)
      >>> int(state.step), bool((metrics["critic/steps"] >= 10).all())
      (3, True)

    References:
      Arjovsky, Chintala and Bottou, Wasserstein GAN, 2017, section 3: the critic
      can, and should, be trained till optimality.
    """
    check_sizes(block=block, most=most, batch_size=batch_size, length=length)
    if most < 2 * block or not tolerance >= 0:
        raise ValueError(
            "an adaptive schedule needs most >= 2 block and tolerance >= 0, "
            f"got block={block}, most={most} and tolerance={tolerance}"
        )

    def batch(state: GANState, sampler: Any) -> Any:
        return sample_batch(sampler, state.key, state.step.critic, batch_size)

    def train_block(state: GANState, sampler: Any) -> tuple[GANState, Metrics, Array]:
        def step(state: GANState, _: None) -> tuple[GANState, Metrics]:
            return gan.critic_step(state, batch(state, sampler))

        state, history = lax.scan(step, state, length=block)
        last = jax.tree.map(lambda m: m[-1], history)
        return state, last, history["critic/estimate"].mean()

    def should_continue(critic: _Plateau) -> Array:
        is_improving = critic.improvement > tolerance * jnp.abs(critic.estimate)
        return is_improving & (critic.steps + block <= most)

    @jax.jit
    def chunk(state: GANState, sampler: Any) -> tuple[GANState, Metrics]:
        def body(critic: _Plateau) -> _Plateau:
            state, metrics, estimate = train_block(critic.state, sampler)
            return _Plateau(
                state, metrics, estimate, estimate - critic.estimate, critic.steps + block
            )

        def iteration(state: GANState, _: None) -> tuple[GANState, Metrics]:
            state, metrics, estimate = train_block(state, sampler)
            always = jnp.full_like(estimate, jnp.inf)
            critic = _Plateau(state, metrics, estimate, always, jnp.int32(block))
            critic = lax.while_loop(should_continue, body, critic)
            state, moved = gan.generator_step(
                critic.state, batch_size, batch(critic.state, sampler)
            )
            steps = critic.steps.astype(jnp.float32)
            return state, critic.metrics | moved | {"critic/steps": steps}

        return lax.scan(iteration, state, length=length)

    def run(state: GANState, sampler: Sampler) -> tuple[GANState, Metrics]:
        return chunk(state, as_pytree(sampler))

    return run
