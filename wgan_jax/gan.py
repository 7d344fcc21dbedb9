"""Algorithm 1 of the WGAN paper, as pure functions over a state of arrays.

for each generator iteration:
    for t = 1 .. n_critic:                                      train_step
        x ~ data,  z ~ latent
        w <- w + update( grad_w  E f_w(x) - E f_w(g_theta(z)) ) critic_step
        w <- clip(w, -c, c)                                     critic_tx
    z ~ latent
    theta <- theta - update( -grad_theta E f_w(g_theta(z)) )    generator_step
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from wgan_jax.coupling import check_uncoupled, samples_of
from wgan_jax.finite import moved_if_finite, skip_metrics
from wgan_jax.keys import Draw, key_for, typed
from wgan_jax.objectives import Objective
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
from wgan_jax.unrolled import check_differentiable, look_ahead, looking_ahead_loss


class GAN(NamedTuple):
    """A GAN as a bundle of pure, jitted functions; the state is theirs to read, yours to keep.

    Attributes:
      init: `(key, real[batch, ...]) -> GANState`. Of `real` only shapes are used.
      critic_step: `(state, real[batch, ...]) -> (state, metrics)`. Changes the critic only.
      generator_step: `(state, batch_size) -> (state, metrics)`. Changes the generator only.
        Where critic steps are unrolled it takes the real samples for them as well,
        `(state, batch_size, real[batch, ...])`.
      train_step: `(state, reals[n_critic, batch, ...]) -> (state, metrics)`: one
        critic step for each slice, then a generator step. Metrics are those of
        the last critic step and of the generator step.
      generate: `(state, key, n) -> samples[n, ...]`, with running statistics, so
        that a sample does not depend on its neighbours.

    `real` and samples may be pytrees, say an image and its label. Metrics are a
    flat dict of scalars: `critic/loss`, `critic/estimate`, `critic/gradient_norm`,
    `generator/loss`, `generator/gradient_norm`, `critic/penalty` with a penalty, and
    `critic/skipped`, `generator/skipped` with optimisers in `skip_non_finite`.
    """

    init: Callable[..., GANState]
    critic_step: Callable[..., tuple[GANState, Metrics]]
    generator_step: Callable[..., tuple[GANState, Metrics]]
    train_step: Callable[..., tuple[GANState, Metrics]]
    generate: Callable[..., PyTree]


def gan(
    generator: Network,
    critic: Network,
    objective: Objective,
    *,
    generator_tx: optax.GradientTransformation,
    critic_tx: optax.GradientTransformation,
    latent: Callable[[Array, int], PyTree],
    penalty: Callable[..., Array] | None = None,
    critic_projection: Callable[[PyTree], PyTree] | None = None,
    unrolled_steps: int = 0,
) -> GAN:
    """Build a GAN from two networks, an objective and two optimisers.

    Args:
      generator: latents `z[n, ...]` to samples `x[n, ...]`.
      critic: samples `x[n, ...]` to scores `[n]` or `[n, 1]`.
      objective: losses on scores, for instance `objectives.Wasserstein()`.
      generator_tx: optax optimiser of the generator.
      critic_tx: optax optimiser of the critic; end it with `clip_weights(c)`
        for the paper's WGAN.
      latent: `(key, n) -> z[n, ...]`.
      penalty: `(critic, real, fake, key) -> scalar` added to the critic's loss,
        where `critic` maps samples to scores.
      critic_projection: weights to weights, applied before each critic step, as
        the reference code clips; the paper clips afterwards, in `critic_tx`.
      unrolled_steps: critic steps that the generator looks ahead and
        differentiates through, all on one real batch; 0 is the plain GAN.

    Returns:
      A `GAN`. Its functions raise ValueError at trace time, with the shapes,
      where scores or samples do not fit.

    Raises:
      ValueError: a module without its adapter, a penalty on a critic with batch norm, a negative
        `unrolled_steps`, or an optimiser that cannot be unrolled.

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
    check_network_type(generator=generator, critic=critic)
    if penalty is not None:
        check_uncoupled(critic, samples_of(generator, latent))
    if unrolled_steps < 0:
        raise ValueError(f"unrolled_steps must not be negative, got {unrolled_steps}")
    if unrolled_steps > 0:
        sample = samples_of(generator, latent)
        check_differentiable(critic_tx, jax.eval_shape(critic.init, jax.random.key(0), sample)[0])

    def init(key: Array, real: PyTree) -> GANState:
        key = typed(key)
        z = latent(key_for(key, Draw.INIT_LATENT), batch_size_of(real))
        params, stats = generator.init(key_for(key, Draw.GENERATOR_INIT), z)
        fake = jax.eval_shape(lambda: generator.apply(params, stats, z, train=True, key=key)[0])
        _check_same_samples(real, fake)
        generator_player = Player(params, stats, generator_tx.init(params))
        params, stats = critic.init(key_for(key, Draw.CRITIC_INIT), real)
        critic_player = Player(params, stats, critic_tx.init(params))
        zero = jnp.zeros((), jnp.int32)
        return GANState(Step(zero, zero), key, critic_player, generator_player)

    def sample_fakes(player: Player, z: PyTree, key: Array) -> PyTree:
        return generator.apply(player.params, player.stats, z, train=True, key=key)

    def score(player: Player, x: PyTree, key: Array) -> tuple[Array, PyTree]:
        scores, stats = critic.apply(player.params, player.stats, x, train=True, key=key)
        return _flat_scores(scores, batch_size_of(x)), stats

    def critic_step(state: GANState, real: PyTree) -> tuple[GANState, Metrics]:
        def key(purpose: Draw) -> Array:
            return key_for(state.key, purpose, state.step.critic)

        moved, metrics = update_critic(state.critic, state.generator, real, key)
        step = state.step._replace(critic=state.step.critic + 1)
        return state._replace(step=step, critic=moved), metrics

    def update_critic(
        critic: Player, generator: Player, real: PyTree, key: Callable[[Draw], Array]
    ) -> tuple[Player, Metrics]:
        on_fake, on_real, on_generator, in_penalty = jax.random.split(key(Draw.CRITIC_DROPOUT), 4)
        z = latent(key(Draw.CRITIC_LATENT), batch_size_of(real))
        fake, _ = sample_fakes(generator, z, on_generator)
        _check_same_samples(real, fake)
        before = critic
        if critic_projection is not None:
            critic = critic._replace(params=critic_projection(critic.params))

        def loss(params: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
            player = critic._replace(params=params)
            f_real, stats = score(player, real, on_real)
            f_fake, stats = score(player._replace(stats=stats), fake, on_fake)
            value = objective.critic_loss(f_real, f_fake)
            metrics = {"critic/estimate": objective.estimate(f_real, f_fake)}
            if penalty is not None:

                def f(x: PyTree, key: Array = in_penalty) -> Array:
                    return score(player, x, key)[0]

                metrics["critic/penalty"] = penalty(f, real, fake, key(Draw.INTERPOLATION))
                value = value + metrics["critic/penalty"]
            return value, (stats, metrics | {"critic/loss": value})

        gradient, (stats, metrics) = jax.grad(loss, has_aux=True)(critic.params)
        metrics["critic/gradient_norm"] = optax.tree.norm(gradient)
        moved = _descend(critic._replace(stats=stats), critic_tx, gradient)
        moved = moved_if_finite(before, moved)
        return moved, metrics | skip_metrics("critic", moved)

    def generator_step(
        state: GANState, batch_size: int, real: PyTree | None = None
    ) -> tuple[GANState, Metrics]:
        def key(purpose: Draw) -> Array:
            return key_for(state.key, purpose, state.step.generator)

        in_generator, in_critic = jax.random.split(key(Draw.GENERATOR_DROPOUT))
        z = latent(key(Draw.GENERATOR_LATENT), batch_size)

        def opponent(player: Player) -> Player:
            if real is None:
                raise ValueError("unrolling needs real samples: generator_step(state, n, real)")

            def update(critic: Player, key: Array) -> Player:
                return update_critic(critic, player, real, partial(key_for, key))[0]

            keys = jax.random.split(key(Draw.UNROLLED), unrolled_steps)
            return look_ahead(update, state.critic, keys)

        def loss(params: PyTree) -> tuple[Array, PyTree]:
            player = state.generator._replace(params=params)
            fake, stats = sample_fakes(player, z, in_generator)
            if unrolled_steps == 0:
                f_fake, _ = score(state.critic, fake, in_critic)
                return objective.generator_loss(f_fake), stats
            on_fake, on_real = jax.random.split(in_critic)
            reacted = opponent(player)
            f_fake, _ = score(reacted, fake, on_fake)
            f_real, _ = score(reacted, real, on_real)
            return looking_ahead_loss(objective, f_real, f_fake), stats

        (value, stats), gradient = jax.value_and_grad(loss, has_aux=True)(state.generator.params)
        metrics = {"generator/loss": value, "generator/gradient_norm": optax.tree.norm(gradient)}
        moved = _descend(state.generator._replace(stats=stats), generator_tx, gradient)
        moved = moved_if_finite(state.generator, moved)
        step = state.step._replace(generator=state.step.generator + 1)
        return state._replace(step=step, generator=moved), metrics | skip_metrics(
            "generator", moved
        )

    def train_step(state: GANState, reals: PyTree) -> tuple[GANState, Metrics]:
        if batch_size_of(reals) < 1:
            raise ValueError("train_step needs reals[n_critic, batch, ...] with n_critic >= 1")
        state, history = lax.scan(critic_step, state, reals)
        metrics = jax.tree.map(lambda m: m[-1], history)
        last = jax.tree.map(lambda x: x[-1], reals)
        state, generator_metrics = generator_step(state, batch_size_of(last), last)
        return state, metrics | generator_metrics

    def generate(state: GANState, key: Array, n: int) -> PyTree:
        player = state.generator
        return generator.apply(player.params, player.stats, latent(typed(key), n), train=False)[0]

    return jitted(GAN(init, critic_step, generator_step, train_step, generate))


def jitted(functions: GAN) -> GAN:
    """The same bundle, compiled: batch sizes are static, everything else is traced."""
    return GAN(
        init=jax.jit(functions.init),
        critic_step=jax.jit(functions.critic_step),
        generator_step=jax.jit(
            functions.generator_step, static_argnums=1, static_argnames="batch_size"
        ),
        train_step=jax.jit(functions.train_step),
        generate=jax.jit(functions.generate, static_argnums=2, static_argnames="n"),
    )


def batch_size_of(x: PyTree) -> int:
    """The leading axis that the leaves of `x` share.

    Raises:
      ValueError: there are no leaves, a scalar among them, or their leading axes differ.
    """
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(x)]
    sizes = {shape[:1] for shape in shapes}
    if len(sizes) != 1 or sizes == {()}:
        raise ValueError(f"a batch needs leaves with one leading axis in common, got {shapes}")
    return sizes.pop()[0]


def _descend(player: Player, tx: optax.GradientTransformation, gradient: PyTree) -> Player:
    updates, opt_state = tx.update(gradient, player.opt_state, player.params)
    return player._replace(params=optax.apply_updates(player.params, updates), opt_state=opt_state)


def _flat_scores(scores: Array, batch: int) -> Array:
    if scores.shape not in ((batch,), (batch, 1)):
        raise ValueError(
            f"a critic returns one score per sample, [{batch}] or [{batch}, 1]; "
            f"got {list(scores.shape)}"
        )
    return scores.reshape(batch)


def _check_same_samples(real: PyTree, fake: PyTree) -> None:
    def describe(x: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jnp.shape(leaf)[1:], x)

    if describe(real) != describe(fake):
        raise ValueError(
            f"the generator makes samples {describe(fake)}, but the data have {describe(real)}"
        )
