"""Custom training steps in plain JAX, checked against the contract of a GAN.

Training uses nothing of the library: `GAN` and `GANState` only give your functions the names that
`check_gan` and `scan_steps` expect.

    python examples/own_steps.py
"""

import jax
import jax.numpy as jnp

from wgan_jax import GAN, GANState, Player, Step, toy
from wgan_jax.testing import check_gan

RATE, BOX = 1e-2, 0.1


def score(weights, x):
    return jnp.tanh(x @ weights["in"]) @ weights["out"]


def sample(weights, z):
    return z @ weights["map"] + weights["shift"][None]


def clipped(weights):
    return jax.tree.map(lambda w: jnp.clip(w, -BOX, BOX), weights)


def descend(weights, gradient):
    return jax.tree.map(lambda w, d: w - RATE * d, weights, gradient)


def noise(state, player, n):
    """Draw the latents of a step, with a new key for each player and update."""
    key = jax.random.fold_in(state.key, ("init", "critic", "generator").index(player))
    key = jax.random.fold_in(key, getattr(state.step, player))
    return jax.random.normal(key, (n, 2))


def init(key, real):
    keys = jax.random.split(jax.random.fold_in(key, 0), 3)
    size = real.shape[1]
    critic = {
        "in": 0.05 * jax.random.normal(keys[0], (size, 8)),
        "out": 0.05 * jax.random.normal(keys[1], (8,)),
    }
    generator = {"map": jax.random.normal(keys[2], (2, size)), "shift": jnp.zeros(size)}
    zero = jnp.int32(0)
    players = (Player(weights, {}, ()) for weights in (clipped(critic), generator))
    return GANState(Step(zero, jnp.copy(zero)), key, *players)


def critic_step(state, real):
    fake = sample(state.generator.params, noise(state, "critic", len(real)))

    def loss_of(weights):
        return score(weights, fake).mean() - score(weights, real).mean()

    loss, gradient = jax.value_and_grad(loss_of)(state.critic.params)
    player = state.critic._replace(params=clipped(descend(state.critic.params, gradient)))
    step = state.step._replace(critic=state.step.critic + 1)
    return state._replace(critic=player, step=step), {"critic/loss": loss, "critic/estimate": -loss}


def generator_step(state, n):
    z = noise(state, "generator", n)

    def loss_of(weights):
        return -score(state.critic.params, sample(weights, z)).mean()

    loss, gradient = jax.value_and_grad(loss_of)(state.generator.params)
    player = state.generator._replace(params=descend(state.generator.params, gradient))
    step = state.step._replace(generator=state.step.generator + 1)
    return state._replace(generator=player, step=step), {"generator/loss": loss}


def train_step(state, reals):
    state, metrics = jax.lax.scan(critic_step, state, reals)
    state, generator_metrics = generator_step(state, reals.shape[1])
    return state, jax.tree.map(lambda x: x[-1], metrics) | generator_metrics


def generate(state, key, n):
    return sample(state.generator.params, jax.random.normal(key, (n, 2)))


def main(skip=()):
    model = GAN(init, critic_step, generator_step, train_step, generate)
    real = toy.Ring()(jax.random.key(0), 4)
    check_gan(model, real, clip=BOX, skip=skip)
    print("the steps satisfy the contract")


if __name__ == "__main__":
    main()
