"""A variational autoencoder whose decoder is the generator, as a baseline to GANs."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import ClassVar

import jax
import jax.numpy as jnp
import optax
from jax import lax

from wgan_jax.finite import moved_if_finite, skip_metrics
from wgan_jax.gan import GAN, batch_size_of, jitted
from wgan_jax.keys import Draw, key_for, typed
from wgan_jax.types import (
    Array,
    GANState,
    Metrics,
    Network,
    Player,
    PyTree,
    Step,
    check_network_type,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvidenceBound:
    """E log N(x; g(z), noise^2) - KL(q(z|x), N(0, I)), a lower bound of log p(x) in nats.

    A generator's samples lie on a thin set where a likelihood is zero or
    infinite; maximum likelihood needs this noise around them. The WGAN paper
    recalls that its best value is about 0.1 per pixel for images in [0, 1], so 0.2 in
    [-1, 1], much wider than what a good sample needs.

    Raises:
      ValueError: noise that is not positive.

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
    """Standard deviation per coordinate, in units of the data."""
    noisy_samples: bool = False
    """Add that noise to samples, as the model has it, instead of showing their means."""

    estimates: ClassVar[str] = "the evidence bound in nats; it rises as the model improves"

    def __post_init__(self) -> None:
        noise = self.observation_noise
        if not isinstance(noise, jax.core.Tracer) and not noise > 0:
            raise ValueError(f"observation_noise must be positive, got {noise}")

    def __call__(self, x: Array, decoded: Array, mean: Array, log_var: Array) -> Array:
        """The bound of each sample, [batch]."""
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
    """A VAE in the clothes of a GAN, so that the same loops train it.

    The encoder sits where the critic does. Both ascend the same bound: a critic
    step moves the encoder, a generator step the decoder, so one critic step per
    iteration is the usual training. `generator_step` needs the real samples,
    `(state, batch_size, real[batch, ...])`.

    Args:
      decoder: latents `z[n, d]` to samples `x[n, ...]`.
      encoder: samples to mean and log-variance of q(z|x), `[n, 2 d]`.
      bound: with the observation noise.
      generator_tx: optax optimiser of the decoder.
      critic_tx: optax optimiser of the encoder.
      latent: `(key, n) -> z[n, d]`, which has to be N(0, I).

    Returns:
      A `GAN`, whose `critic/estimate` is the bound in nats per sample, to be
      raised; the losses are its negative.

    Raises:
      ValueError: a module without its adapter; at trace time, with the shapes, where
        encodings or samples do not fit, or samples are pairs with labels.

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

    check_network_type(decoder=decoder, encoder=encoder)

    def init(key: Array, real: Array) -> GANState:
        key = typed(key)
        z = latent(key_for(key, Draw.INIT_LATENT), _check_array(real))
        params, stats = decoder.init(key_for(key, Draw.GENERATOR_INIT), z)
        decoded = jax.eval_shape(lambda: decoder.apply(params, stats, z, train=True, key=key)[0])
        if decoded.shape != real.shape:
            raise ValueError(
                f"the decoder makes samples {decoded.shape}, the data are {real.shape}"
            )
        generator_player = Player(params, stats, generator_tx.init(params))
        params, stats = encoder.init(key_for(key, Draw.CRITIC_INIT), real)
        critic_player = Player(params, stats, critic_tx.init(params))
        zero = jnp.zeros((), jnp.int32)
        return GANState(Step(zero, zero), key, critic_player, generator_player)

    def loss(
        critic: Player, generator: Player, real: Array, on_latent: Array, on_dropout: Array
    ) -> tuple[Array, tuple[PyTree, PyTree]]:
        on_encoder, on_decoder = jax.random.split(on_dropout)
        code, critic_stats = encoder.apply(
            critic.params, critic.stats, real, train=True, key=on_encoder
        )
        noise = latent(on_latent, _check_array(real))
        if code.shape != (noise.shape[0], 2 * noise.shape[1]):
            raise ValueError(
                f"the encoder returns mean and log-variance of a latent {noise.shape}, so "
                f"{[noise.shape[0], 2 * noise.shape[1]]}; got {list(code.shape)}"
            )
        mean, log_var = jnp.split(code, 2, axis=1)
        z = mean + jnp.exp(log_var / 2) * noise
        decoded, generator_stats = decoder.apply(
            generator.params, generator.stats, z, train=True, key=on_decoder
        )
        return -bound(real, decoded, mean, log_var).mean(), (critic_stats, generator_stats)

    def critic_step(state: GANState, real: Array) -> tuple[GANState, Metrics]:
        keys = [
            key_for(state.key, purpose, state.step.critic)
            for purpose in (Draw.CRITIC_LATENT, Draw.CRITIC_DROPOUT)
        ]

        def of(params: PyTree) -> tuple[Array, PyTree]:
            player = state.critic._replace(params=params)
            value, (stats, _) = loss(player, state.generator, real, *keys)
            return value, stats

        moved, value, norm = _ascend(of, state.critic, critic_tx)
        metrics = {"critic/loss": value, "critic/estimate": -value, "critic/gradient_norm": norm}
        metrics |= skip_metrics("critic", moved)
        step = state.step._replace(critic=state.step.critic + 1)
        return state._replace(step=step, critic=moved), metrics

    def generator_step(
        state: GANState, batch_size: int, real: Array | None = None
    ) -> tuple[GANState, Metrics]:
        if real is None or batch_size_of(real) != batch_size:
            raise ValueError(
                f"a VAE's generator_step(state, {batch_size}, real) needs {batch_size} real samples"
            )
        keys = [
            key_for(state.key, purpose, state.step.generator)
            for purpose in (Draw.GENERATOR_LATENT, Draw.GENERATOR_DROPOUT)
        ]

        def of(params: PyTree) -> tuple[Array, PyTree]:
            player = state.generator._replace(params=params)
            value, (_, stats) = loss(state.critic, player, real, *keys)
            return value, stats

        moved, value, norm = _ascend(of, state.generator, generator_tx)
        step = state.step._replace(generator=state.step.generator + 1)
        metrics = {"generator/loss": value, "generator/gradient_norm": norm}
        metrics |= skip_metrics("generator", moved)
        return state._replace(step=step, generator=moved), metrics

    def train_step(state: GANState, reals: Array) -> tuple[GANState, Metrics]:
        if batch_size_of(reals) < 1:
            raise ValueError("train_step needs reals[n_critic, batch, ...] with n_critic >= 1")
        state, history = lax.scan(critic_step, state, reals)
        metrics = jax.tree.map(lambda m: m[-1], history)
        state, generator_metrics = generator_step(state, reals.shape[1], reals[-1])
        return state, metrics | generator_metrics

    def generate(state: GANState, key: Array, n: int) -> Array:
        on_latent, on_noise = jax.random.split(typed(key))
        player = state.generator
        x, _ = decoder.apply(player.params, player.stats, latent(on_latent, n), train=False)
        if bound.noisy_samples:
            x = x + bound.observation_noise * jax.random.normal(on_noise, x.shape, x.dtype)
        return x

    return jitted(GAN(init, critic_step, generator_step, train_step, generate))


def _check_array(real: PyTree) -> int:
    if not isinstance(real, jax.Array):
        raise ValueError(f"a VAE models arrays without labels, got a {type(real).__name__}")
    return real.shape[0]


def _ascend(
    loss: Callable[[PyTree], tuple[Array, PyTree]],
    player: Player,
    tx: optax.GradientTransformation,
) -> tuple[Player, Array, Array]:
    (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(player.params)
    updates, opt_state = tx.update(gradient, player.opt_state, player.params)
    moved = Player(optax.apply_updates(player.params, updates), stats, opt_state)
    return moved_if_finite(player, moved), value, optax.tree.norm(gradient)
