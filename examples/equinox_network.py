"""A critic in Equinox: arrays are trained, the rest of the module is the program.

pip install equinox
python examples/equinox_network.py
"""

import equinox as eqx
import jax
import optax

from wgan_jax import MLP, Network, Wasserstein, clip_weights, from_linen, gan, scan_steps, toy


def from_equinox(build):
    """`build(key)`, a module for one sample, as a `Network` for batches."""
    _, program = eqx.partition(build(jax.random.key(0)), eqx.is_inexact_array)

    def init(key, x):
        return eqx.filter(build(key), eqx.is_inexact_array), {}

    def apply(params, stats, x, *, train, key=None):
        return jax.vmap(eqx.combine(params, program))(x), stats

    return Network(init, apply)


def main():
    ring = toy.Ring()
    critic = from_equinox(lambda key: eqx.nn.MLP(2, "scalar", width_size=32, depth=2, key=key))
    model = gan(
        from_linen(MLP(features=(32,), output_shape=(2,))),
        critic,
        Wasserstein(),
        generator_tx=optax.rmsprop(1e-3),
        critic_tx=optax.chain(optax.rmsprop(1e-3), clip_weights(0.1)),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )
    state = model.init(jax.random.key(0), ring(jax.random.key(1), 64))
    state, _ = scan_steps(model, n_critic=5, batch_size=64, length=100)(state, ring)
    largest = max(abs(w).max() for w in jax.tree.leaves(state.critic.params))
    print(
        f"{int(state.step)} iterations; the largest weight of the Equinox critic is {largest:.3f}"
    )
    return float(largest)


if __name__ == "__main__":
    main()
