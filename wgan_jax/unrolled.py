"""Unrolled GAN: the generator answers the critic of a few steps ahead."""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp
import optax
from jax import lax

from wgan_jax.algorithm import Game, move_generator, sample_fakes, score, update_critic
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.objectives import Objective
from wgan_jax.types import Array, GANState, Metrics, Player, PyTree, Scalar


def unrolled_generator_step(
    game: Game, state: GANState, batch_size: int, real: PyTree | None = None
) -> tuple[GANState, Metrics]:
    """A step of the generator against the critic of `game.unrolled_steps` steps ahead.

    Those steps are all on the batch `real`. The generator's gradient through them has two
    parts: the usual one, and how the critic would react. The critic itself stays where it is.

    Raises:
      ValueError: no real samples.

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

    in_generator, in_critic = jax.random.split(key(Purpose.GENERATOR_DROPOUT))
    on_fake, on_real = jax.random.split(in_critic)
    z = game.latent(key(Purpose.GENERATOR_LATENT), batch_size)
    keys = jax.random.split(key(Purpose.UNROLLED), game.unrolled_steps)

    def loss(params: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
        generator = state.generator._replace(params=params)
        fake, stats = sample_fakes(game, generator, z, in_generator)
        critic = _unroll_critic(game, state.critic, generator, real, keys, state.step.generator)
        f_fake, _ = score(game, critic, fake, on_fake)
        f_real, _ = score(game, critic, real, on_real)
        value = unrolled_generator_loss(game.objective, f_real, f_fake)
        return value, (stats, {"generator/loss": value})

    return move_generator(state, loss, game.generator_tx)


def _unroll_critic(
    game: Game, critic: Player, generator: Player, real: PyTree, keys: Array, iteration: Array
) -> Player:
    """The critic after one update for each of `keys`, differentiable in the generator."""

    def ahead(critic: Player, key: Array) -> tuple[Player, None]:
        on = partial(derive_key, key)
        return update_critic(game, critic, generator, real, on, iteration)[0], None

    return lax.scan(ahead, critic, keys)[0]


def unrolled_generator_loss(objective: Objective, real: Array, fake: Array) -> Scalar:
    """What the generator descends, from scores of the critic of a few steps ahead.

    The scores of real samples depend on the generator too, through the critic's
    reaction, so their part of the game's value joins the generator's own loss. With
    a minimax loss the sum is the value of the game, up to a constant.

    Args:
      objective: whose critic's loss is a part of real scores plus a part of fake ones.
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
    """Refuse an optimizer whose update has no derivative at a zero gradient.

    A weight behind a dead ReLU has gradient zero. Where the update then takes
    the square root of zero, as Adam does by default, its derivative is not a
    number. An optimizer that holds traced hyper-parameters is not looked at.

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
