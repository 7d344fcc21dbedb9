"""A critic trained alone, between two fixed distributions."""

import jax
import numpy as np
import optax
import pytest

from wgan_jax import MLP, Wasserstein, clip_weights, from_linen
from wgan_jax.critic_fit import fit_critic
from wgan_jax.networks import Cones

SHIFT = 3.0


def fit(module, tx, steps=300, **options):
    return fit_critic(
        from_linen(module),
        Wasserstein(),
        lambda key, n: SHIFT + jax.random.normal(key, (n, 1)),
        lambda key, n: jax.random.normal(key, (n, 1)),
        critic_tx=tx,
        steps=steps,
        batch_size=options.get("batch_size", 256),
    )


def test_cones_find_w1_from_below(key):
    _, metrics = fit(Cones(count=16), optax.rmsprop(0.02))(key)
    assert float(metrics["critic/estimate"][-50:].mean()) == pytest.approx(SHIFT, rel=0.05)


def test_the_optimizer_ends_with_the_box(key):
    critic, _ = fit(MLP(features=(8,)), optax.chain(optax.rmsprop(0.1), clip_weights(0.05)))(key)
    for weights in jax.tree.leaves(critic.params):
        assert np.abs(weights).max() <= np.float32(0.05)


def test_keys_may_be_vmapped(key):
    run = fit(MLP(features=(8,)), optax.rmsprop(0.01), steps=20)
    keys = jax.random.split(key, 3)
    _, together = jax.vmap(run)(keys)
    for row, one in zip(together["critic/estimate"], keys, strict=True):
        np.testing.assert_allclose(row, run(one)[1]["critic/estimate"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [{"steps": 0}, {"batch_size": 0}])
def test_sizes_are_checked(sizes):
    with pytest.raises(ValueError, match="0"):
        fit(MLP(features=(8,)), optax.rmsprop(0.01), **sizes)
