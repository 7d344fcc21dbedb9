"""Variational autoencoder whose decoder is the generator, as a baseline for GANs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax

from wgan_jax import algorithm
from wgan_jax.algorithm import (
    Game,
    batch_size_of,
    descend,
    draw_latent,
    move_generator,
    sample_fakes,
)
from wgan_jax.gan import GAN, jitted
from wgan_jax.keys import Purpose, derive_key, typed
from wgan_jax.types import Array, GANState, Metrics, Network, Player, PyTree, check_network_type
from wgan_jax.validation import check_part


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvidenceBound:
    """E log N(x; g(z), noise^2) - KL(q(z|x), N(0, I)), a lower bound on log p(x) in nats.

    A generator's samples lie on a thin set, where a likelihood is zero or infinite;
    maximum likelihood needs this noise around them. According to the WGAN paper, its
    best value is about 0.1 per pixel for images in [0, 1], so 0.2 in [-1, 1], much
    larger than a good sample needs.

    Raises:
      ValueError: the noise is not positive.

    Example:
      >>> import jax.numpy as jnp
      >>> x, mean, log_var = jnp.zeros((1, 1)), jnp.zeros((1, 2)), jnp.zeros((1, 2))
      >>> round(EvidenceBound(observation_noise=1.0)(x, x, mean, log_var).item(), 4)
      -0.9189

    References:
      Kingma and Welling, Auto-Encoding Variational Bayes, 2014, equations 7
      and 10; Wu et al., 2016, as the WGAN paper cites it in section 1.
    """

    observation_noise: float = 0.1
    """Standard deviation of the decoder's noise in each coordinate, in units of the data."""
    noisy_samples: bool = False
    """Add the decoder's noise to samples, as the model does, instead of showing their means."""

    title: ClassVar[str] = "VAE"
    estimates: ClassVar[str] = "the evidence bound in nats; it rises as the model improves"

    def __post_init__(self) -> None:
        noise = self.observation_noise
        if not isinstance(noise, jax.core.Tracer) and not noise > 0:
            raise ValueError(f"observation_noise must be positive, got {noise}")

    def __call__(self, x: Array, decoded: Array, mean: Array, log_var: Array) -> Array:
        """Return the bound of each sample, [batch]."""
        variance = jnp.square(jnp.asarray(self.observation_noise, jnp.float32))
        squares = jnp.square(x - decoded).reshape(x.shape[0], -1)
        scale = squares.shape[1] * jnp.log(2 * math.pi * variance)
        likelihood = -(squares.sum(1) / variance + scale) / 2
        divergence = (jnp.square(mean) + jnp.exp(log_var) - log_var - 1).sum(1) / 2
        return likelihood - divergence


def vae(
    decoder: Network,
    encoder: Network,
    bound: EvidenceBound,
    *,
    generator_tx: optax.GradientTransformation,
    critic_tx: optax.GradientTransformation,
    latent: Callable[[Array, int], Array],
) -> GAN:
    """Build a VAE that implements the `GAN` interface, so that the same loops train it.

    The encoder takes the place of the critic. Both networks ascend the same bound:
    a critic step updates the encoder, a generator step the decoder, so one critic
    step per iteration is the usual training. `generator_step` needs the real
    samples, `(state, batch_size, real[batch, ...])`.

    Args:
      decoder: latents `z[n, d]` to samples `x[n, ...]`.
      encoder: samples to mean and log-variance of q(z|x), `[n, 2 d]`.
      bound: evidence bound, with the observation noise.
      generator_tx: optax optimizer of the decoder.
      critic_tx: optax optimizer of the encoder.
      latent: `(key, n) -> z[n, d]`, which must be N(0, I).

    Returns:
      A `GAN` whose `critic/estimate` is the bound in nats per sample, to be
      maximized; the losses are its negative.

    Raises:
      ValueError: at trace time, with the shapes, if encodings or samples do not
        match, or samples are pairs with labels.

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from wgan_jax import MLP, from_linen
      >>> toy = vae(
      ...     from_linen(MLP(features=(32,), output_shape=(2,))),
      ...     from_linen(MLP(features=(32,), output_shape=(4,))),
      ...     EvidenceBound(observation_noise=0.1),
      ...     generator_tx=optax.sgd(1e-3),
      ...     critic_tx=optax.sgd(1e-3),
      ...     latent=lambda key, n: jax.random.normal(key, (n, 2)),
      ... )
      >>> state = toy.init(jax.random.key(0), jnp.zeros((8, 2)))
      >>> state, metrics = toy.train_step(state, jnp.zeros((1, 8, 2)))
      >>> int(state.step), toy.generate(state, jax.random.key(1), 3).shape
      (1, (3, 2))
    """

    game = Game(decoder, encoder, bound, generator_tx, critic_tx, latent)
    check_network_type(decoder=decoder, encoder=encoder)
    check_part(bound, "bound", "__call__")
    check_part(generator_tx, "generator's optimizer", "init", "update")
    check_part(critic_tx, "critic's optimizer", "init", "update")
    critic_step, generator_step = partial(_critic_step, game), partial(_generator_step, game)
    return jitted(
        GAN(
            init=partial(_init, game),
            critic_step=critic_step,
            generator_step=generator_step,
            train_step=partial(algorithm.train_step, critic_step, generator_step),
            generate=partial(_generate, game),
        )
    )


def _init(game: Game, key: Array, real: Array) -> GANState:
    _check_array(real)
    return algorithm.init(game, key, real)


def _critic_step(game: Game, state: GANState, real: Array) -> tuple[GANState, Metrics]:
    """Update the encoder to raise the bound."""
    keys = [
        derive_key(state.key, purpose, state.step.critic)
        for purpose in (Purpose.CRITIC_LATENT, Purpose.CRITIC_DROPOUT)
    ]

    def loss(params: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
        encoder = state.critic._replace(params=params)
        value, (stats, _) = _loss(game, encoder, state.generator, real, *keys)
        return value, (stats, {"critic/loss": value, "critic/estimate": -value})

    moved, metrics = descend("critic", state.critic, loss, game.critic_tx, state.step.generator)
    step = state.step._replace(critic=state.step.critic + 1)
    return state._replace(step=step, critic=moved), metrics


def _generator_step(
    game: Game, state: GANState, batch_size: int, real: Array | None = None
) -> tuple[GANState, Metrics]:
    """Update the decoder to raise the bound."""
    if real is None or batch_size_of(real) != batch_size:
        raise ValueError(
            f"a VAE's generator_step(state, {batch_size}, real) needs {batch_size} real samples"
        )
    keys = [
        derive_key(state.key, purpose, state.step.generator)
        for purpose in (Purpose.GENERATOR_LATENT, Purpose.GENERATOR_DROPOUT)
    ]

    def loss(params: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
        decoder = state.generator._replace(params=params)
        value, (_, stats) = _loss(game, state.critic, decoder, real, *keys)
        return value, (stats, {"generator/loss": value})

    return move_generator(state, loss, game.generator_tx)


def _generate(game: Game, state: GANState, key: Array, n: int) -> Array:
    latent_key, noise_key = jax.random.split(typed(key))
    x = algorithm.generate(game, state, latent_key, n)
    if game.objective.noisy_samples:
        x = x + game.objective.observation_noise * jax.random.normal(noise_key, x.shape, x.dtype)
    return x


def _loss(
    game: Game, critic: Player, generator: Player, real: Array, z_key: Array, dropout_key: Array
) -> tuple[Array, tuple[PyTree, PyTree]]:
    """Return the negative bound, and updated statistics of encoder and decoder."""
    encoder_key, decoder_key = jax.random.split(dropout_key)
    noise = draw_latent(game, z_key, _check_array(real))
    code, critic_stats = game.critic.apply(
        critic.params, critic.stats, real, train=True, key=encoder_key
    )
    if code.shape != (noise.shape[0], 2 * noise.shape[1]):
        raise ValueError(
            f"the encoder must return mean and log-variance of a latent {noise.shape}, so "
            f"{[noise.shape[0], 2 * noise.shape[1]]}; got {list(code.shape)}"
        )
    mean, log_var = jnp.split(code, 2, axis=1)
    z = mean + jnp.exp(log_var / 2) * noise
    decoded, generator_stats = sample_fakes(game, generator, z, decoder_key)
    return -game.objective(real, decoded, mean, log_var).mean(), (critic_stats, generator_stats)


def _check_array(real: PyTree) -> int:
    if not isinstance(real, jax.Array):
        raise ValueError(f"a VAE models arrays without labels, got a {type(real).__name__}")
    return real.shape[0]
