"""Unrolled GANs: generator steps against the critic a few steps ahead."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax import lax

from wgan_jax.algorithm import Game, draw_latent, move_generator, sample_fakes, score, update_critic
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.objectives import Objective
from wgan_jax.types import Array, GANState, Metrics, Player, PyTree, Scalar


def unrolled_generator_step(
    game: Game, state: GANState, batch_size: int, real: PyTree | None = None
) -> tuple[GANState, Metrics]:
    """Take a generator step against the critic `game.unrolled_steps` steps ahead.

    These steps all use the batch `real`. The generator's gradient through them has two
    parts: the usual one, and the critic's reaction. The critic itself does not change.

    Raises:
      ValueError: there are no real samples.

    Example:
      >>> import optax
      >>> from wgan_jax import MLP, Wasserstein, from_linen
      >>> from wgan_jax.algorithm import init
      >>> game = Game(
      ...     from_linen(MLP(features=(4,), output_shape=(2,))),
      ...     from_linen(MLP(features=(4,))),
      ...     Wasserstein(),
      ...     optax.sgd(0.1),
      ...     optax.sgd(0.1),
      ...     lambda key, n: jax.random.normal(key, (n, 2)),
      ...     unrolled_steps=3,
      ... )
      >>> real = jnp.ones((8, 2))
      >>> start = init(game, jax.random.key(0), real)
      >>> state, metrics = unrolled_generator_step(game, start, 8, real)
      >>> int(state.step.generator), int(state.step.critic)
      (1, 0)

    References:
      Metz et al., Unrolled Generative Adversarial Networks, 2016, equations 6 to 9.
    """
    if real is None:
        raise ValueError("unrolling needs real samples: generator_step(state, n, real)")

    def key(purpose: Purpose) -> Array:
        return derive_key(state.key, purpose, state.step.generator)

    generator_key, critic_key = jax.random.split(key(Purpose.GENERATOR_DROPOUT))
    fake_key, real_key = jax.random.split(critic_key)
    z = draw_latent(game, key(Purpose.GENERATOR_LATENT), batch_size)
    keys = jax.random.split(key(Purpose.UNROLLED), game.unrolled_steps)

    def loss(params: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
        generator = state.generator._replace(params=params)
        fake, stats = sample_fakes(game, generator, z, generator_key)
        critic = _unroll_critic(game, state.critic, generator, real, keys, state.step.generator)
        f_fake, _ = score(game, critic, fake, fake_key)
        f_real, _ = score(game, critic, real, real_key)
        value = unrolled_generator_loss(game.objective, f_real, f_fake)
        return value, (stats, {"generator/loss": value})

    return move_generator(state, loss, game.generator_tx)


def _unroll_critic(
    game: Game, critic: Player, generator: Player, real: PyTree, keys: Array, iteration: Array
) -> Player:
    """Return the critic after an update per key, differentiable in the generator."""

    def step(critic: Player, key: Array) -> tuple[Player, None]:
        key_of = partial(derive_key, key)
        return update_critic(game, critic, generator, real, key_of, iteration)[0], None

    return lax.scan(step, critic, keys)[0]


def unrolled_generator_loss(objective: Objective, real: Array, fake: Array) -> Scalar:
    """Return the generator's loss from scores of the critic a few steps ahead.

    The scores of real samples also depend on the generator, through the critic's
    reaction, so their part of the game's value is added to the generator's own loss.
    With a minimax loss the sum is the value of the game, up to a constant.

    Args:
      objective: one whose critic loss adds a term of real scores and a term of fake scores.
      real: scores [n].
      fake: scores [n].

    Example:
      >>> import jax.numpy as jnp
      >>> from wgan_jax.objectives import Wasserstein
      >>> unrolled_generator_loss(Wasserstein(), jnp.ones(2), jnp.full(2, 3.0)).item()
      -2.0

    References:
      Metz et al., Unrolled Generative Adversarial Networks, 2016, equation 8.
    """
    return objective.generator_loss(fake) - objective.critic_loss(real, jnp.zeros_like(fake))


def check_differentiable(tx: optax.GradientTransformation, params: PyTree) -> None:
    """Reject an optimizer whose update has no derivative at a zero gradient.

    Weights behind a dead ReLU have gradient zero. If the update then takes the
    square root of zero, as Adam does by default, its derivative is not finite.
    Optimizers that hold traced hyperparameters are not checked.

    Args:
      tx: the critic's optimizer.
      params: shapes and dtypes of its weights.

    Raises:
      ValueError: the derivative is not finite.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> check_differentiable(optax.rmsprop(1e-4, eps_in_sqrt=True), jnp.ones(2))
      >>> check_differentiable(optax.rmsprop(1e-4, eps_in_sqrt=False), jnp.ones(2))
      Traceback (most recent call last):
      ValueError: unrolling differentiates through the critic's optimizer, ...
    """

    def is_finite() -> Array:
        zeros = jax.tree.map(lambda w: jnp.zeros(w.shape, w.dtype), params)

        def update(gradient: PyTree) -> PyTree:
            any_args = optax.with_extra_args_support(tx)
            return any_args.update(gradient, tx.init(zeros), zeros, iteration=jnp.int32(0))[0]

        updates, pull = jax.vjp(update, zeros)
        slopes = pull(jax.tree.map(jnp.ones_like, updates))
        leaves = [jnp.isfinite(s).all() for s in jax.tree.leaves((updates, slopes))]
        return jnp.stack(leaves).all()

    with jax.ensure_compile_time_eval():
        try:
            finite = bool(jax.jit(is_finite)())
        except (jax.errors.UnexpectedTracerError, jax.errors.TracerBoolConversionError):
            return
    if not finite:
        raise ValueError(
            "unrolling differentiates through the critic's optimizer, and this one has no finite "
            "derivative at a zero gradient; give it eps_root > 0 (Adam), or an epsilon under the "
            "root (RMSProp)"
        )
