"""Gradients that are not finite reach neither the weights nor the optimizer state."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from wgan_jax import (
    MLP,
    Network,
    Wasserstein,
    clip_weights,
    from_linen,
    gan,
    scan_steps,
    skip_non_finite,
)
from wgan_jax.transforms.finite import num_skipped

C = 0.05
OPTIMIZERS = {
    "rmsprop": lambda rate: optax.rmsprop(rate),
    "clipped": lambda rate: optax.chain(optax.rmsprop(rate), clip_weights(C)),
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
}
BAD = {"nan": jnp.nan, "inf": jnp.inf, "-inf": -jnp.inf, "its square overflows": 1e30}
WEIGHTS = {"w": jnp.array([0.01, -0.05, 0.03]), "b": jnp.zeros((2, 2))}


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("bad", BAD)
def test_a_bad_gradient_changes_nothing_but_the_count(name, bad):
    tx = skip_non_finite(OPTIMIZERS[name](0.1))
    good = jax.tree.map(jnp.ones_like, WEIGHTS)
    before = tx.update(good, tx.init(WEIGHTS), WEIGHTS)[1]
    gradient = good | {"w": good["w"].at[1].set(BAD[bad])}
    updates, after = tx.update(gradient, before, WEIGHTS)
    if name == "momentum" and bad == "its square overflows":
        assert int(num_skipped(after)) == 0  # SGD takes no square
        return
    chex.assert_trees_all_equal(updates, jax.tree.map(jnp.zeros_like, WEIGHTS))
    chex.assert_trees_all_equal(after.inner, before.inner)
    assert int(num_skipped(after)) == 1


def test_good_gradients_pass_bitwise_through_scan_and_vmap_with_traced_rates():
    def run(rate, spoilt, wrap):
        tx = optax.chain(optax.rmsprop(rate), clip_weights(C))
        tx = skip_non_finite(tx) if wrap else tx

        def step(carry, gradient):
            w, state = carry
            updates, state = tx.update(gradient, state, w)
            return (optax.apply_updates(w, updates), state), w

        gradients = jax.random.normal(jax.random.key(1), (6, 3))
        gradients = gradients.at[spoilt, 0].set(jnp.nan)
        start = (WEIGHTS["w"], tx.init(WEIGHTS["w"]))
        (w, state), path = lax.scan(step, start, gradients)
        return w, num_skipped(state), path

    rates, spoilt = jnp.array([1e-3, 1e-1]), jnp.array([2, 6])  # the sixth does not exist
    w, skipped, path = jax.vmap(lambda r, s: run(r, s, True))(rates, spoilt)
    assert skipped.tolist() == [1, 0]
    np.testing.assert_array_equal(w[1], run(rates[1], 6, False)[0])
    np.testing.assert_array_equal(path[0, 2], path[0, 3])
    assert (jnp.abs(w) <= C).all()


def build(spoil):
    """A GAN whose critic scores NaN where `spoil(x)`, and counts its calls in its statistics."""
    critic = from_linen(MLP(features=(8,)))

    def apply(params, stats, x, *, train, key=None):
        y, _ = critic.apply(params, {}, x, train=train, key=key)
        count = stats["count"] + jnp.float32(train)
        y = y * jnp.where(spoil(x), jnp.nan, 1.0)
        return y, {"count": jnp.where(jnp.isfinite(y).all(), count, jnp.nan)}

    def init(key, x):
        return critic.init(key, x)[0], {"count": jnp.zeros(())}

    return gan(
        from_linen(MLP(features=(8,), output_shape=(2,))),
        Network(init, apply),
        Wasserstein(),
        generator_tx=skip_non_finite(optax.rmsprop(1e-3)),
        critic_tx=skip_non_finite(optax.chain(optax.rmsprop(1e-3), clip_weights(C))),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )


def test_a_step_is_left_out_with_its_running_statistics_and_counted():
    model = build(lambda x: x[0, 0] > 90)
    real = jnp.zeros((4, 2))
    state = model.init(jax.random.key(0), real)
    state, metrics = model.critic_step(state, real)
    assert metrics["critic/skipped"].item() == 0
    after, metrics = model.critic_step(state, real.at[0, 0].set(100.0))
    assert metrics["critic/skipped"].item() == 1
    chex.assert_trees_all_equal(after.critic.params, state.critic.params)
    chex.assert_trees_all_equal(after.critic.stats, state.critic.stats)
    assert after.step.critic == 2
    again, metrics = model.generator_step(after, 4)
    assert metrics["generator/skipped"].item() == 0
    assert jnp.isfinite(again.generator.params["Dense_0"]["kernel"]).all()


def test_one_bad_batch_in_a_scan_leaves_a_finite_run():
    def sampler(key, n):
        x = jax.random.normal(key, (n, 2))
        return jnp.where(jax.random.bernoulli(key, 0.2), jnp.inf, x)

    model = build(lambda x: jnp.array(False))
    state = model.init(jax.random.key(0), jnp.zeros((4, 2)))
    with jax.debug_key_reuse(False):
        state, metrics = scan_steps(model, n_critic=3, batch_size=4, length=20)(state, sampler)
    skipped = metrics["critic/skipped"]
    assert 0 < skipped[-1] < 60
    assert (jnp.diff(skipped) >= 0).all()
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(state.critic))
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(state.generator))
