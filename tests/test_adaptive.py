"""Critics that are trained until they stop gaining."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import MLP, Wasserstein, clip_weights, from_linen, gan, scan_steps, toy
from wgan_jax.adaptive import scan_adaptive_steps
from wgan_jax.experiment.config import Adaptive, Config, Warmup

RING = toy.Ring()


@pytest.fixture(scope="module")
def model():
    return gan(
        from_linen(MLP(features=(16,), output_shape=(2,))),
        from_linen(MLP(features=(16,))),
        Wasserstein(),
        generator_tx=optax.rmsprop(1e-3),
        critic_tx=optax.chain(optax.rmsprop(1e-3), clip_weights(0.1)),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )


@pytest.fixture(scope="module")
def state(model):
    return model.init(jax.random.key(0), jnp.zeros((32, 2)))


def adaptive(model, length=2, block=3, most=12, tolerance=0.05):
    return scan_adaptive_steps(
        model, block=block, most=most, tolerance=tolerance, batch_size=32, length=length
    )


def leaves(tree):
    plain = tree._replace(key=jax.random.key_data(tree.key))
    return [np.asarray(leaf) for leaf in jax.tree.leaves(plain)]


def assert_equal(a, b):
    for x, y in zip(leaves(a), leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)


@pytest.mark.parametrize(("tolerance", "steps"), [(1e9, 6), (0.0, None)])
def test_it_takes_two_blocks_at_least_and_no_more_than_most(model, state, tolerance, steps):
    end, metrics = adaptive(model, length=8, tolerance=tolerance)(state, RING)
    taken = np.asarray(metrics["critic/steps"])
    assert ((taken >= 6) & (taken <= 12) & (taken % 3 == 0)).all()
    assert steps is None or (taken == steps).all()
    assert int(end.step.critic) == taken.sum()


def test_without_gain_it_is_a_fixed_schedule(model, state):
    ours, _ = adaptive(model, tolerance=1e9)(state, RING)
    fixed, _ = scan_steps(model, n_critic=6, batch_size=32, length=2)(state, RING)
    for x, y in zip(leaves(ours), leaves(fixed), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_a_run_does_not_depend_on_its_chunks(model, state):
    whole, _ = adaptive(model, length=4)(state, RING)
    half = adaptive(model, length=2)
    assert_equal(whole, half(half(state, RING)[0], RING)[0])


@pytest.mark.parametrize(
    "bad", [{"block": 0}, {"most": 5}, {"tolerance": -0.1}, {"tolerance": float("nan")}]
)
def test_bad_settings_are_told(model, bad):
    with pytest.raises(ValueError, match=str(next(iter(bad.values())))):
        adaptive(model, **bad)


def test_a_config_has_one_schedule():
    with pytest.raises(ValueError, match="warmup"):
        Config(adaptive=Adaptive(), warmup=Warmup())
    with pytest.raises(ValueError, match="most=7"):
        Adaptive(block=5, most=7)
