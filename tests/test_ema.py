"""The average of a generator's weights."""

import chex
import jax
import numpy as np
import optax
import pytest

from wgan_jax import MLP, Wasserstein, from_linen, gan, toy
from wgan_jax.transforms.ema import track_ema, with_ema

RING = toy.Ring()


@pytest.mark.parametrize("decay", [0.5, 0.999, 0.99999])
def test_the_average_is_of_trained_weights_and_not_of_initial_ones(decay, key):
    """After n iterations, iteration i has the share of decay^(n - i) among them."""
    model = gan(
        from_linen(MLP(features=(4,), output_shape=(2,))),
        from_linen(MLP(features=(4,))),
        Wasserstein(),
        generator_tx=optax.chain(optax.sgd(0.1), track_ema(decay)),
        critic_tx=optax.sgd(0.1),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )
    for_init, for_data = jax.random.split(key)
    reals = RING(for_data, 16).reshape(2, 8, 2)
    state, seen = model.init(for_init, reals[0]), []
    for _ in range(4):
        state, _ = model.train_step(state, reals)
        seen.append(jax.tree.map(lambda w: np.asarray(w, np.float64), state.generator.params))
    shares = decay ** np.arange(3.0, -1, -1)
    average = jax.tree.map(lambda *w: np.average(w, 0, shares), *seen)
    chex.assert_trees_all_close(with_ema(state).generator.params, average, rtol=1e-5, atol=1e-7)
