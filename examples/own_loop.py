"""A WGAN inside an existing training loop, with its own scan, optimizer and extra loss.

The library trains the critic and derives separate keys. The generator's loss, with a term that
matches the mean of the data, and its update are written by hand.

    python examples/own_loop.py
"""

import jax
import jax.numpy as jnp
import optax

from wgan_jax import MLP, Wasserstein, clip_weights, from_linen, gan, toy
from wgan_jax.distances import exact_w1
from wgan_jax.keys import Purpose, derive_key

BATCH, N_CRITIC, ITERATIONS = 128, 5, 400


def main():
    ring = toy.Ring(modes=4, radius=1.0, std=0.1)
    generator = from_linen(MLP(features=(64, 64), output_shape=(2,)))
    critic = from_linen(MLP(features=(64, 64)))
    latent = lambda key, n: jax.random.normal(key, (n, 2))  # noqa: E731
    generator_tx = optax.chain(optax.clip_by_global_norm(1.0), optax.rmsprop(2e-3))
    model = gan(
        generator,
        critic,
        Wasserstein(),
        generator_tx=generator_tx,
        critic_tx=optax.chain(optax.rmsprop(1e-3), clip_weights(0.1)),
        latent=latent,
    )

    def generator_loss(params, state, real):
        z = latent(derive_key(state.key, Purpose.GENERATOR_LATENT, state.step.generator), BATCH)
        fake, _ = generator.apply(params, state.generator.stats, z, train=True)
        scores, _ = critic.apply(state.critic.params, state.critic.stats, fake, train=True)
        mean_distance = jnp.square(fake.mean(0) - real.mean(0)).sum()
        return -scores.mean() + 0.1 * mean_distance

    def iteration(state, key):
        reals = jax.vmap(lambda k: ring(k, BATCH))(jax.random.split(key, N_CRITIC))
        for real in reals:
            state, metrics = model.critic_step(state, real)
        player = state.generator
        gradient = jax.grad(generator_loss)(player.params, state, reals[-1])
        updates, opt_state = generator_tx.update(gradient, player.opt_state, player.params)
        player = player._replace(
            params=optax.apply_updates(player.params, updates), opt_state=opt_state
        )
        step = state.step._replace(generator=state.step.generator + 1)
        return state._replace(generator=player, step=step), metrics["critic/estimate"]

    def distance(state):
        samples = model.generate(state, jax.random.key(2), 500)
        return exact_w1(samples, ring(jax.random.key(3), 500))

    start = model.init(jax.random.key(0), ring(jax.random.key(1), BATCH))
    keys = jax.random.split(jax.random.key(4), ITERATIONS)
    state, _ = jax.jit(lambda state, keys: jax.lax.scan(iteration, state, keys))(start, keys)
    before, after = distance(start), distance(state)
    print(f"W1 between samples and data went from {before:.2f} to {after:.2f}")
    return float(before), float(after)


if __name__ == "__main__":
    main()
