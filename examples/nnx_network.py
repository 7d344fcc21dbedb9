"""A generator in Flax NNX with batch norm and dropout.

python examples/nnx_network.py
"""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from wgan_jax import MLP, Wasserstein, clip_weights, from_linen, from_nnx, gan, scan_steps, toy


class Generator(nnx.Module):
    def __init__(self, width, *, rngs):
        self.first = nnx.Linear(2, width, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.dropout = nnx.Dropout(0.1, rngs=rngs)
        self.last = nnx.Linear(width, 2, rngs=rngs)

    def __call__(self, z):
        return self.last(self.dropout(nnx.relu(self.norm(self.first(z)))))


def main():
    ring = toy.Ring()
    model = gan(
        from_nnx(Generator, 32),
        from_linen(MLP(features=(32,))),
        Wasserstein(),
        generator_tx=optax.rmsprop(1e-3),
        critic_tx=optax.chain(optax.rmsprop(1e-3), clip_weights(0.1)),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )
    state = model.init(jax.random.key(0), ring(jax.random.key(1), 64))
    state, _ = scan_steps(model, n_critic=5, batch_size=64, length=100)(state, ring)
    samples = model.generate(state, jax.random.key(2), 1_000)
    print(f"1,000 samples from NNX, mean radius {jnp.linalg.norm(samples, axis=1).mean():.2f}")
    return samples


if __name__ == "__main__":
    main()
