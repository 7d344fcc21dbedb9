"""A GAN as a bundle of compiled functions: Algorithm 1 (`wgan_jax.algorithm`) for one game."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import optax

from wgan_jax import algorithm
from wgan_jax.algorithm import Game
from wgan_jax.objectives import Objective, PairedObjective, is_paired
from wgan_jax.types import Array, GANState, Metrics, Network, PyTree, check_network_type
from wgan_jax.unrolled import check_differentiable, unrolled_generator_step
from wgan_jax.validation import (
    check_independent_scores,
    check_part,
    sample_spec,
)


class GAN(NamedTuple):
    """A GAN as a bundle of pure, jitted functions; the caller keeps the state.

    Attributes:
      init: `(key, real[batch, ...]) -> GANState`. Only the shapes of `real` are used.
      critic_step: `(state, real[batch, ...]) -> (state, metrics)`. Updates only the critic.
      generator_step: `(state, batch_size) -> (state, metrics)`. Updates only the generator.
        With unrolled critic steps, or an objective that scores samples in pairs, it also
        takes real samples, `(state, batch_size, real[batch, ...])`.
      train_step: `(state, reals[n_critic, batch, ...]) -> (state, metrics)`: one
        critic step for each slice, then a generator step. Metrics are those of
        the last critic step and of the generator step.
      generate: `(state, key, n) -> samples[n, ...]`, with running statistics, so
        that samples do not depend on each other.

    `real` and samples may be pytrees, such as an image and its label. Metrics are a
    flat dict of scalars: `critic/loss`, `critic/estimate`, `critic/gradient_norm`,
    `generator/loss`, `generator/gradient_norm`, `critic/penalty` with a penalty, and
    `critic/skipped`, `generator/skipped` with optimizers wrapped in `skip_non_finite`.
    """

    init: Callable[..., GANState]
    critic_step: Callable[..., tuple[GANState, Metrics]]
    generator_step: Callable[..., tuple[GANState, Metrics]]
    train_step: Callable[..., tuple[GANState, Metrics]]
    generate: Callable[..., PyTree]


def gan(
    generator: Network,
    critic: Network,
    objective: Objective | PairedObjective,
    *,
    generator_tx: optax.GradientTransformation,
    critic_tx: optax.GradientTransformation,
    latent: Callable[[Array, int], PyTree],
    penalty: Callable[..., Array] | None = None,
    critic_projection: Callable[[PyTree], PyTree] | None = None,
    unrolled_steps: int = 0,
) -> GAN:
    """Build a GAN from two networks, an objective and two optimizers.

    Args:
      generator: latents `z[n, ...]` to samples `x[n, ...]`.
      critic: samples `x[n, ...]` to scores `[n]` or `[n, 1]`.
      objective: losses on scores, such as `objectives.Wasserstein()`.
      generator_tx: optax optimizer of the generator.
      critic_tx: optax optimizer of the critic; end it with `clip_weights(c)`
        for the paper's WGAN.
      latent: `(key, n) -> z[n, ...]`.
      penalty: `(critic, real, fake, key) -> scalar` added to the critic's loss,
        where `critic` maps samples to scores.
      critic_projection: maps weights to weights before each critic step, where the
        reference code clips; the paper clips after it, in `critic_tx`.
      unrolled_steps: critic steps that a generator step looks ahead and differentiates
        through, all on one real batch; 0 for a plain GAN.

    Returns:
      A `GAN`. Its functions raise ValueError at trace time, with the shapes,
      if scores or samples do not match; its steps also if a batch is empty.

    Raises:
      ValueError: a module or class in place of a network; a penalty on a critic
        whose scores depend on other samples of the batch, as with batch norm; a
        negative `unrolled_steps`; an optimizer or objective that cannot be unrolled.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from wgan_jax import MLP, Wasserstein, clip_weights, from_linen
      >>> toy = gan(
      ...     from_linen(MLP(features=(32,), output_shape=(2,))),
      ...     from_linen(MLP(features=(32,))),
      ...     Wasserstein(),
      ...     generator_tx=optax.rmsprop(5e-5),
      ...     critic_tx=optax.chain(optax.rmsprop(5e-5), clip_weights(0.01)),
      ...     latent=lambda key, n: jax.random.normal(key, (n, 2)),
      ... )
      >>> state = toy.init(jax.random.key(0), jnp.zeros((64, 2)))
      >>> state, metrics = toy.train_step(state, jnp.zeros((5, 64, 2)))  # n_critic = 5
      >>> int(state.step), toy.generate(state, jax.random.key(1), 3).shape
      (1, (3, 2))

    References:
      Arjovsky, Chintala and Bottou, Wasserstein GAN, 2017, Algorithm 1.
    """
    game = Game(
        generator,
        critic,
        objective,
        generator_tx,
        critic_tx,
        latent,
        penalty,
        critic_projection,
        unrolled_steps,
    )
    _check(game)
    if unrolled_steps == 0:
        generator_step = partial(algorithm.generator_step, game)
    else:
        generator_step = partial(unrolled_generator_step, game)
    critic_step = partial(algorithm.critic_step, game)
    return jitted(
        GAN(
            init=partial(algorithm.init, game),
            critic_step=critic_step,
            generator_step=generator_step,
            train_step=partial(algorithm.train_step, critic_step, generator_step),
            generate=partial(algorithm.generate, game),
        )
    )


def _check(game: Game) -> None:
    check_network_type(generator=game.generator, critic=game.critic)
    check_part(game.objective, "objective", "critic_loss", "generator_loss", "estimate")
    check_part(game.generator_tx, "generator's optimizer", "init", "update")
    check_part(game.critic_tx, "critic's optimizer", "init", "update")
    check_part(game.latent, "latent", "__call__")
    if game.critic_projection is not None:
        check_part(game.critic_projection, "critic's projection", "__call__")
    if game.unrolled_steps < 0:
        raise ValueError(f"unrolled_steps must not be negative, got {game.unrolled_steps}")
    if game.penalty is not None:
        check_part(game.penalty, "penalty", "__call__")
        check_independent_scores(game.critic, sample_spec(game.generator, game.latent))
    if game.unrolled_steps > 0:
        if is_paired(game.objective):
            raise ValueError(
                "unrolling needs a critic loss that adds a term of real scores and a term of fake "
                f"ones, but {type(game.objective).__name__} pairs them: set unrolled_steps=0"
            )
        sample = sample_spec(game.generator, game.latent)
        params, _ = jax.eval_shape(game.critic.init, jax.random.key(0), sample)
        check_differentiable(game.critic_tx, params)


def jitted(functions: GAN) -> GAN:
    """Compile the bundle: batch sizes are static, everything else is traced."""
    return GAN(
        init=jax.jit(functions.init),
        critic_step=jax.jit(functions.critic_step),
        generator_step=jax.jit(
            functions.generator_step, static_argnums=1, static_argnames="batch_size"
        ),
        train_step=jax.jit(functions.train_step),
        generate=jax.jit(functions.generate, static_argnums=2, static_argnames="n"),
    )
