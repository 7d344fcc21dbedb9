"""WGAN-LP on the ring of 8 Gaussians: every mode, and few samples between them."""

import jax
import numpy as np
import pytest

from wgan_jax import MLP, LipschitzPenalty, Wasserstein, from_linen, gan, scan_steps, toy
from wgan_jax.optimizers import Adam

ITERATIONS, N_CRITIC, BATCH, NOISE = 15_000, 5, 256, 16
HIDDEN = (128, 128, 128)


def train(seed):
    def adam(updates):
        optimizer = Adam(learning_rate=2e-3, decay="linear", decay_iterations=ITERATIONS)
        return optimizer.build(updates)

    ring = toy.Ring()
    model = gan(
        from_linen(MLP(features=HIDDEN, output_shape=(2,))),
        from_linen(MLP(features=HIDDEN)),
        Wasserstein(),
        generator_tx=adam(1),
        critic_tx=adam(N_CRITIC),
        latent=lambda key, n: jax.random.normal(key, (n, NOISE)),
        penalty=LipschitzPenalty(weight=1.0),
    )
    state = model.init(jax.random.key(seed), ring(jax.random.key(1), BATCH))
    run = scan_steps(model, n_critic=N_CRITIC, batch_size=BATCH, length=ITERATIONS)
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        state, _ = run(state, ring)
    return np.asarray(model.generate(state, jax.random.key(1000 + seed), 2500))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_every_mode_is_found_and_samples_lie_on_modes(seed):
    ring = toy.Ring()
    distance = np.linalg.norm(train(seed)[:, None] - ring.centers, axis=-1)
    close = distance.min(1) <= 3 * ring.std
    assert set(distance.argmin(1)[close]) == set(range(8))
    assert close.mean() >= 0.95
