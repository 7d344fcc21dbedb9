"""A critic in plain JAX: two functions make a network.

python examples/plain_network.py
"""

import jax
import jax.numpy as jnp
import optax

from wgan_jax import MLP, Network, Wasserstein, clip_weights, from_linen, gan, scan_steps, toy
from wgan_jax.testing import check_network

WAVES, HIDDEN = 16, 32


def init(key, x):
    """Initialize a critic on random waves of x; the waves are not trained."""
    on_waves, on_hidden = jax.random.split(key)
    waves = jax.random.normal(on_waves, (x.shape[-1], WAVES))
    hidden = jax.random.normal(on_hidden, (2 * WAVES, HIDDEN)) / jnp.sqrt(2.0 * WAVES)
    return {"hidden": hidden, "out": jnp.zeros(HIDDEN)}, {"waves": waves}


def apply(params, stats, x, *, train, key=None):
    angles = x @ stats["waves"]
    waves = jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1)
    return jax.nn.relu(waves @ params["hidden"]) @ params["out"], stats


def main():
    critic, ring = Network(init, apply), toy.Ring()
    check_network(critic, ring(jax.random.key(0), 8), scores=True)

    model = gan(
        from_linen(MLP(features=(32,), output_shape=(2,))),
        critic,
        Wasserstein(),
        generator_tx=optax.rmsprop(1e-3),
        critic_tx=optax.chain(optax.rmsprop(1e-3), clip_weights(0.1)),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )
    state = model.init(jax.random.key(0), ring(jax.random.key(1), 64))
    state, metrics = scan_steps(model, n_critic=5, batch_size=64, length=200)(state, ring)
    first, last = (
        metrics["critic/estimate"][part].mean() for part in (slice(20, 40), slice(-20, None))
    )
    print(f"the critic's estimate went from {first:.3f} to {last:.3f}")
    return float(first), float(last)


if __name__ == "__main__":
    main()
