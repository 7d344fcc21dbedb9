"""Algorithm 1 of the WGAN paper, line by line, as pure functions of a game and a state.

for each generator iteration:                                       train_step
    for t = 1 .. n_critic:                                          critic_step
        x ~ data,  z ~ latent
        w <- w + update( grad_w  E f_w(x) - E f_w(g_theta(z)) )     update_critic
        w <- clip(w, -c, c)                                         Game.critic_tx
    z ~ latent
    theta <- theta - update( -grad_theta E f_w(g_theta(z)) )        generator_step

`wgan_jax.gan` binds a game to these functions and compiles them. `wgan_jax.unrolled` and
`wgan_jax.vae` are built from the same functions.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import lax

from wgan_jax.batch_statistics import after_both, for_second, sequential
from wgan_jax.keys import Purpose, derive_key, typed
from wgan_jax.objectives import is_paired
from wgan_jax.transforms.finite import revert_if_skipped, skip_metrics
from wgan_jax.types import (
    Array,
    GANState,
    Metrics,
    Network,
    Player,
    PyTree,
    Step,
    without_weak_types,
)

KeyFor = Callable[[Purpose], Array]
Loss = Callable[[PyTree], tuple[Array, tuple[PyTree, Metrics]]]
"""Maps weights to (loss, (statistics, metrics))."""


class Game(NamedTuple):
    """Functions and settings of a GAN, without arrays; fields as in `wgan_jax.gan`."""

    generator: Network
    critic: Network
    objective: Any  # an `Objective`, or the bound of a VAE
    generator_tx: optax.GradientTransformation
    critic_tx: optax.GradientTransformation
    latent: Callable[[Array, int], PyTree]
    penalty: Callable[..., Array] | None = None
    critic_projection: Callable[[PyTree], PyTree] | None = None
    unrolled_steps: int = 0


def init(game: Game, key: Array, real: PyTree) -> GANState:
    """Return the initial state; only the shapes of `real` are used."""
    key = typed(key)
    z = draw_latent(game, derive_key(key, Purpose.INIT_LATENT), batch_size_of(real))
    params, stats = game.generator.init(derive_key(key, Purpose.GENERATOR_INIT), z)

    def fakes() -> PyTree:  # traced for shapes only, so any key will do
        return game.generator.apply(params, stats, z, train=True, key=jax.random.key(0))[0]

    check_same_samples(real, jax.eval_shape(fakes))
    generator = Player(params, stats, game.generator_tx.init(params))
    params, stats = game.critic.init(derive_key(key, Purpose.CRITIC_INIT), real)
    critic = Player(params, stats, game.critic_tx.init(params))
    zero = jnp.zeros((), jnp.int32)
    # Weak types, as of `jnp.full(3, 0.1)`, end with the first step: the second would compile again.
    return without_weak_types(GANState(Step(zero, zero), key, critic, generator))


def train_step(
    critic_step: Callable[[GANState, PyTree], tuple[GANState, Metrics]],
    generator_step: Callable[[GANState, int, PyTree], tuple[GANState, Metrics]],
    state: GANState,
    reals: PyTree,
) -> tuple[GANState, Metrics]:
    """Run one iteration: a critic step for each batch of `reals`, then a generator step."""
    if batch_size_of(reals) < 1:
        raise ValueError("train_step needs reals[n_critic, batch, ...] with n_critic >= 1")
    # On a GPU, steps that are unrolled run up to three times as fast as the body of a loop.
    scan = partial(lax.scan, critic_step)
    unrolled = partial(scan, unroll=5)
    state, history = lax.platform_dependent(state, reals, cuda=unrolled, default=scan)
    metrics = jax.tree.map(lambda m: m[-1], history)
    last = jax.tree.map(lambda x: x[-1], reals)
    state, generator_metrics = generator_step(state, batch_size_of(last), last)
    return state, metrics | generator_metrics


def critic_step(game: Game, state: GANState, real: PyTree) -> tuple[GANState, Metrics]:
    """Take one critic step on one batch."""
    key = partial(_key_at, state.key, state.step.critic)
    critic, metrics = update_critic(
        game, state.critic, state.generator, real, key, state.step.generator
    )
    step = state.step._replace(critic=state.step.critic + 1)
    return state._replace(step=step, critic=critic), metrics


def update_critic(
    game: Game, critic: Player, generator: Player, real: PyTree, key: KeyFor, iteration: Array
) -> tuple[Player, Metrics]:
    """Return the critic after one optimizer step; `key` maps a purpose to a PRNG key."""
    fake_key, real_key, generator_key, penalty_key = jax.random.split(
        key(Purpose.CRITIC_DROPOUT), 4
    )
    z = draw_latent(game, key(Purpose.CRITIC_LATENT), batch_size_of(real))
    fake, _ = sample_fakes(game, generator, z, generator_key)
    check_same_samples(real, fake)
    project = game.critic_projection or (lambda params: params)
    start = critic._replace(params=project(critic.params))

    def loss(params: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
        player = start._replace(params=params)
        f_real, f_fake, stats = score_both(game, player, real, fake, real_key, fake_key)
        value = game.objective.critic_loss(f_real, f_fake)
        metrics = {"critic/estimate": game.objective.estimate(f_real, f_fake)}
        if game.penalty is not None:

            def f(x: PyTree, key: Array = penalty_key) -> Array:
                return score(game, player, x, key)[0]

            metrics["critic/penalty"] = game.penalty(f, real, fake, key(Purpose.INTERPOLATION))
            value = value + metrics["critic/penalty"]
        return value, (stats, metrics | {"critic/loss": value})

    return descend("critic", start, loss, game.critic_tx, iteration, otherwise=critic)


def generator_step(
    game: Game, state: GANState, batch_size: int, real: PyTree | None = None
) -> tuple[GANState, Metrics]:
    """Take one generator step against the current critic.

    `real[batch_size, ...]` is used only by objectives that score samples in pairs.
    """
    key = partial(_key_at, state.key, state.step.generator)
    generator_key, critic_key = jax.random.split(key(Purpose.GENERATOR_DROPOUT))
    z = draw_latent(game, key(Purpose.GENERATOR_LATENT), batch_size)
    partners: tuple[Array, ...] = ()
    if is_paired(game.objective):
        critic_key, real_key = jax.random.split(critic_key)
        partners = (score(game, state.critic, _partners(real, batch_size), real_key)[0],)

    def loss(params: PyTree) -> tuple[Array, tuple[PyTree, Metrics]]:
        fake, stats = sample_fakes(game, state.generator._replace(params=params), z, generator_key)
        f_fake, _ = score(game, state.critic, fake, critic_key)
        value = game.objective.generator_loss(f_fake, *partners)
        return value, (stats, {"generator/loss": value})

    return move_generator(state, loss, game.generator_tx)


def generate(game: Game, state: GANState, key: Array, n: int) -> PyTree:
    """Generate samples with running statistics, so that they do not depend on each other."""
    player, z = state.generator, game.latent(typed(key), n)
    return game.generator.apply(player.params, player.stats, z, train=False)[0]


def draw_latent(game: Game, key: Array, n: int) -> PyTree:
    """Draw the latents of a batch; the losses of an empty one would be means over nothing, NaN."""
    if n < 1:
        raise ValueError(f"a batch needs at least one sample, got {n}")
    return game.latent(key, n)


def sample_fakes(game: Game, player: Player, z: PyTree, key: Array) -> tuple[PyTree, PyTree]:
    """Generate samples as in training; also return the generator's updated statistics."""
    return game.generator.apply(player.params, player.stats, z, train=True, key=key)


def score(game: Game, player: Player, x: PyTree, key: Array) -> tuple[Array, PyTree]:
    """Return scores [batch], at least float32, and the critic's updated statistics."""
    scores, stats = game.critic.apply(player.params, player.stats, x, train=True, key=key)
    batch = batch_size_of(x)
    if scores.shape not in ((batch,), (batch, 1)):
        raise ValueError(
            f"a critic returns one score per sample, [{batch}] or [{batch}, 1]; "
            f"got {list(scores.shape)}"
        )
    is_half = scores.dtype in (jnp.bfloat16, jnp.float16)
    return (scores.astype(jnp.float32) if is_half else scores).reshape(batch), stats


def score_both(
    game: Game, player: Player, real: PyTree, fake: PyTree, on_real: Array, on_fake: Array
) -> tuple[Array, Array, PyTree]:
    """Score real and fake samples with one function; also return the statistics after both.

    Statistics that affect the scores, such as the vectors of spectral normalization, are the
    same for both halves and advance once. Running statistics of batch norm do not affect
    training scores, where each half uses its own, and are updated by one half after the other.
    """
    chain = sequential(game.critic, player.params, player.stats, real)
    f_real, after_real = score(game, player, real, on_real)
    second = player._replace(stats=for_second(chain, player.stats, after_real))
    f_fake, after_fake = score(game, second, fake, on_fake)
    return f_real, f_fake, after_both(chain, after_real, after_fake)


def move_generator(
    state: GANState, loss: Loss, tx: optax.GradientTransformation
) -> tuple[GANState, Metrics]:
    """Take one optimizer step of the generator, which counts as an iteration."""
    generator, metrics = descend("generator", state.generator, loss, tx, state.step.generator)
    step = state.step._replace(generator=state.step.generator + 1)
    return state._replace(step=step, generator=generator), metrics


def descend(
    name: str,
    player: Player,
    loss: Loss,
    tx: optax.GradientTransformation,
    iteration: Array,
    otherwise: Player | None = None,
) -> tuple[Player, Metrics]:
    """Return a player after one optimizer step, or `otherwise` if the step was skipped."""
    gradient, (stats, metrics) = jax.grad(loss, has_aux=True)(player.params)
    updates, opt_state = optax.with_extra_args_support(tx).update(
        gradient, player.opt_state, player.params, iteration=iteration
    )
    moved = Player(optax.apply_updates(player.params, updates), stats, opt_state)
    moved = revert_if_skipped(player if otherwise is None else otherwise, moved)
    metrics = metrics | {f"{name}/gradient_norm": optax.tree.norm(gradient)}
    return moved, metrics | skip_metrics(name, moved)


def batch_size_of(x: PyTree) -> int:
    """Return the size of the leading axis that the leaves of `x` share.

    Raises:
      ValueError: there are no leaves, one is a scalar, or their leading axes differ.
    """
    shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(x)]
    sizes = {shape[:1] for shape in shapes}
    if len(sizes) != 1 or sizes == {()}:
        raise ValueError(f"the leaves of a batch must share one leading axis, got {shapes}")
    return sizes.pop()[0]


def check_same_samples(real: PyTree, fake: PyTree) -> None:
    """Reject a generator whose samples differ in shape from the data."""

    def describe(x: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jnp.shape(leaf)[1:], x)

    if describe(real) != describe(fake):
        raise ValueError(
            f"the generator returns samples {describe(fake)}, but the data have {describe(real)}"
        )


def _partners(real: PyTree | None, batch_size: int) -> PyTree:
    count = 0 if real is None else batch_size_of(real)
    if count != batch_size:
        raise ValueError(
            f"this objective pairs each generated sample with a real one: generator_step(state, "
            f"{batch_size}, real) needs {batch_size} real samples, got {count}"
        )
    return real


def _key_at(root: Array, step: Array, purpose: Purpose) -> Array:
    return derive_key(root, purpose, step)
