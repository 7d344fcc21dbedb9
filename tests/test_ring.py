"""WGAN-GP with averaged weights on the ring of 8 Gaussians: all modes, few samples between."""

import jax
import numpy as np
import optax
import pytest

from wgan_jax import (
    MLP,
    GradientPenalty,
    Wasserstein,
    from_linen,
    gan,
    scan_steps,
    toy,
)
from wgan_jax.metrics import mode_coverage
from wgan_jax.transforms.ema import track_ema, with_ema
from wgan_jax.transforms.optimizers import Adam

ITERATIONS, N_CRITIC, BATCH, NOISE, EMA_DECAY = 12_000, 5, 128, 2, 0.999


def train(seed):
    def adam(updates):
        optimizer = Adam(learning_rate=2e-3, decay="linear", decay_iterations=ITERATIONS)
        return optimizer.build(updates)

    ring = toy.Ring()
    model = gan(
        from_linen(MLP(features=(128, 128, 128), output_shape=(2,))),
        from_linen(MLP(features=(64, 64, 64))),
        Wasserstein(),
        generator_tx=optax.chain(adam(1), track_ema(EMA_DECAY)),
        critic_tx=adam(N_CRITIC),
        latent=lambda key, n: jax.random.normal(key, (n, NOISE)),
        penalty=GradientPenalty(weight=0.1),
    )
    state = model.init(jax.random.key(seed), ring(jax.random.key(1), BATCH))
    run = scan_steps(model, n_critic=N_CRITIC, batch_size=BATCH, length=ITERATIONS)
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        state, _ = run(state, ring)
    return np.asarray(model.generate(with_ema(state), jax.random.key(1000 + seed), 2500))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(10))
def test_every_mode_is_found_and_samples_lie_on_modes(seed):
    ring = toy.Ring()
    coverage = mode_coverage(train(seed), ring.centers, ring.std)
    assert coverage.found == 8
    assert coverage.high_quality >= 0.95
