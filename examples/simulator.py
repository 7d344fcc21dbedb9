"""Fit a simulator's parameters to data by W1, with gradients through a critic.

A damped oscillator starts from a random displacement and is observed at four times by a noisy
instrument. The example uses no likelihood, only that the simulator can be run and differentiated.
The simulator takes the generator's place: the generator step updates its frequency and damping.

    python examples/simulator.py
"""

import jax
import jax.numpy as jnp
import optax

from wgan_jax import MLP, LipschitzPenalty, Network, Wasserstein, from_linen, gan, scan_steps

TIMES = jnp.array([0.5, 1.0, 1.5, 2.0])
TRUTH = {"frequency": 3.0, "damping": 0.4}
GUESS = {"frequency": 2.2, "damping": 1.0}


def simulate(params, z):
    """Return displacements [n, 4] at `TIMES` from noise [n, 5] of the start and the instrument."""
    start = 1.0 + 0.3 * z[:, :1]
    decay = jnp.exp(-params["damping"] * TIMES)[None]
    return start * decay * jnp.cos(params["frequency"] * TIMES)[None] + 0.05 * z[:, 1:]


def noise(key, n):
    return jax.random.normal(key, (n, 5))


def main():
    simulator = Network(
        init=lambda key, z: (jax.tree.map(jnp.float32, GUESS), {}),
        apply=lambda params, stats, z, *, train, key=None: (simulate(params, z), stats),
    )

    def observed(key, n):
        return simulate(TRUTH, noise(key, n))

    model = gan(
        simulator,
        from_linen(MLP(features=(64, 64))),
        Wasserstein(),
        generator_tx=optax.rmsprop(optax.cosine_decay_schedule(2e-2, 400)),
        critic_tx=optax.rmsprop(1e-3),
        latent=noise,
        penalty=LipschitzPenalty(weight=10.0),
    )
    state = model.init(jax.random.key(0), observed(jax.random.key(1), 256))
    run = scan_steps(model, n_critic=5, batch_size=256, length=400)
    with jax.numpy_dtype_promotion("standard"):  # the schedule divides an integer count
        state, metrics = run(state, observed)
    fitted = {name: float(value) for name, value in state.generator.params.items()}
    for name, value in fitted.items():
        print(f"{name}: {value:.3f}, truth {TRUTH[name]:.3f}, first guess {GUESS[name]:.3f}")
    print(f"W1 by the critic: {metrics['critic/estimate'][-20:].mean():.4f}")
    return fitted


if __name__ == "__main__":
    main()
