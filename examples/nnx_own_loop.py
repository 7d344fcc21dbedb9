"""A training loop of your own in Flax NNX, with losses, penalty and W1 from wgan_jax.

It uses no adapter and no state of this package: an objective is three functions of scores, and a
penalty is a function of a critic, real and fake samples, and a key.

    python examples/nnx_own_loop.py
"""

import jax
import optax
from flax import nnx

from wgan_jax import LipschitzPenalty, Wasserstein, toy
from wgan_jax.distances import exact_w1

BATCH, N_CRITIC, ITERATIONS = 128, 5, 200


class Perceptron(nnx.Module):
    def __init__(self, outputs, *, rngs):
        pairs = [(2, 64), (64, 64)]
        self.hidden = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairs])
        self.last = nnx.Linear(64, outputs, rngs=rngs)

    def __call__(self, x):
        for layer in self.hidden:
            x = nnx.relu(layer(x))
        return self.last(x)


def main():
    ring = toy.Ring(modes=4, radius=1.0, std=0.1)  # replace by your data
    rngs = nnx.Rngs(0)
    generator, critic = Perceptron(2, rngs=rngs), Perceptron(1, rngs=rngs)
    of_generator = nnx.Optimizer(generator, optax.adam(1e-3, b1=0.5), wrt=nnx.Param)
    of_critic = nnx.Optimizer(critic, optax.adam(1e-3, b1=0.5), wrt=nnx.Param)
    objective, penalty = Wasserstein(), LipschitzPenalty(weight=1.0)

    def generate(generator, key, n=BATCH):
        return generator(jax.random.normal(key, (n, 2)))

    def critic_loss(critic, generator, real, key):
        on_latent, on_penalty = jax.random.split(key)
        fake = generate(generator, on_latent)
        f = lambda x: critic(x)[:, 0]  # noqa: E731
        return objective.critic_loss(f(real), f(fake)) + penalty(f, real, fake, on_penalty)

    def generator_loss(generator, critic, key):
        return objective.generator_loss(critic(generate(generator, key))[:, 0])

    @nnx.jit
    def iteration(generator, critic, of_generator, of_critic, reals, key):
        on_generator, *on_critic = jax.random.split(key, 1 + N_CRITIC)
        for real, on_step in zip(reals, on_critic, strict=True):
            of_critic.update(critic, nnx.grad(critic_loss)(critic, generator, real, on_step))
        gradient = nnx.grad(generator_loss)(generator, critic, on_generator)
        of_generator.update(generator, gradient)

    def distance():
        samples = generate(generator, jax.random.key(2), 500)
        return float(exact_w1(samples, ring(jax.random.key(3), 500)))

    before = distance()
    for key in jax.random.split(jax.random.key(1), ITERATIONS):
        on_data, on_iteration = jax.random.split(key)
        reals = ring(on_data, N_CRITIC * BATCH).reshape(N_CRITIC, BATCH, 2)
        iteration(generator, critic, of_generator, of_critic, reals, on_iteration)
    after = distance()
    print(f"W1 between samples and data went from {before:.2f} to {after:.2f}")
    return before, after


if __name__ == "__main__":
    main()
