"""Both players in Equinox: a generator with batch norm and an MLP critic.

pip install equinox
python examples/equinox_network.py
"""

import equinox as eqx
import jax
import optax

from wgan_jax import Wasserstein, clip_weights, from_equinox, gan, scan_steps, toy


class Generator(eqx.Module):
    """Maps a single latent, as usual in Equinox; `from_equinox` vmaps it over the batch."""

    first: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    last: eqx.nn.Linear

    def __init__(self, width, *, key):
        on_first, on_last = jax.random.split(key)
        self.first = eqx.nn.Linear(2, width, use_bias=False, key=on_first)
        self.norm = eqx.nn.BatchNorm(width, axis_name="batch", mode="batch")
        self.last = eqx.nn.Linear(width, 2, key=on_last)

    def __call__(self, z, state):
        y, state = self.norm(self.first(z), state)
        return self.last(jax.nn.relu(y)), state


def main():
    ring = toy.Ring()
    model = gan(
        from_equinox(Generator, 32),
        from_equinox(eqx.nn.MLP, 2, "scalar", width_size=32, depth=2),
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
