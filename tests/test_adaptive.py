"""Critics that are trained until they stop gaining."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import (
    MLP,
    Wasserstein,
    clip_weights,
    from_linen,
    gan,
    scan_steps,
    skip_non_finite,
    toy,
)
from wgan_jax.adaptive import scan_adaptive_steps
from wgan_jax.experiment.build import build_gan
from wgan_jax.experiment.config import Adaptive, Config, Warmup
from wgan_jax.transforms.optimizers import SGD, follow_iterations

RING = toy.Ring()


def falling(count):
    return 1.0 - jnp.asarray(count, jnp.float32) / 10.0


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


def rates_of_the_critic(model, iterations, updates_each=7):
    """Step over gradient, critic updates far ahead of those of a fixed schedule."""
    state = model.init(jax.random.key(0), jnp.zeros((16, 2)))
    rates = []
    for iteration in iterations:
        step = state.step._replace(generator=jnp.int32(iteration))
        for i in range(updates_each):
            real = RING(jax.random.fold_in(jax.random.key(1), i), 16)
            before = state._replace(step=step._replace(critic=state.step.critic))
            state, metrics = model.critic_step(before, real)
        moved = jax.tree.map(lambda a, b: a - b, before.critic.params, state.critic.params)
        rates.append(float(optax.tree.norm(moved) / metrics["critic/gradient_norm"]))
    return rates


@pytest.mark.parametrize("decay", ["linear", "cosine"])
@pytest.mark.parametrize(
    "schedule",
    [{"adaptive": Adaptive()}, {"warmup": Warmup()}, {"warmup": Warmup(), "ema_decay": 0.9}],
    ids=["adaptive", "warm-up", "with an average"],
)
def test_the_rate_of_the_critic_falls_with_the_run_and_not_with_its_own_steps(schedule, decay):
    optimizer = SGD(learning_rate=0.01, decay=decay, decay_iterations=20)
    config = Config(
        generator=MLP(features=(4,), output_shape=(2,)),
        critic=MLP(features=(4,)),
        critic_optimizer=optimizer,
        clip=None,
        **schedule,
    )
    expected = {"linear": [0.01, 0.005, 0.001, 0.0], "cosine": [0.01, 0.005, None, 0.0]}[decay]
    found = rates_of_the_critic(build_gan(config), (0, 10, 18, 20))
    for rate, value in zip(found, expected, strict=True):
        assert value is None or rate == pytest.approx(value, rel=2e-3, abs=1e-7)


@pytest.mark.parametrize(
    ("optimizer", "gradient"),
    [
        (optax.sgd(falling), 1.0),
        (optax.inject_hyperparams(optax.sgd)(learning_rate=falling), 1.0),
        (optax.chain(optax.add_decayed_weights(falling), optax.sgd(1.0)), 0.0),
    ],
    ids=["learning rate", "injected", "weight decay"],
)
def test_every_schedule_of_optax_follows_the_run(optimizer, gradient):
    tx, w = follow_iterations(optimizer), jnp.ones(())
    state = tx.init(w)
    for iteration in (0, 5, 5, 10):
        update, state = tx.update(jnp.array(gradient), state, w, iteration=jnp.int32(iteration))
        assert float(update) == pytest.approx(iteration / 10 - 1)


def test_accumulated_updates_follow_the_run_from_outside():
    w, gradient = jnp.ones(()), jnp.ones(())
    with jax.numpy_dtype_promotion("standard"):
        outside = follow_iterations(optax.MultiSteps(optax.sgd(falling), 2))
        inside = optax.MultiSteps(follow_iterations(optax.sgd(falling)), 2)
        state = outside.init(w)
        for i, expected in ((4, 0.0), (5, -0.5)):
            update, state = outside.update(gradient, state, w, iteration=jnp.int32(i))
            assert float(update) == pytest.approx(expected)
        inside = inside.gradient_transformation()
        with pytest.raises(ValueError, match=r"wrap that in follow_iterations"):
            optax.with_extra_args_support(inside).update(
                gradient, inside.init(w), w, iteration=jnp.int32(5)
            )


def test_members_with_a_traced_rate_follow_the_run_too():
    def rates(rate):
        tx = follow_iterations(SGD(learning_rate=rate, decay="linear", decay_iterations=20).build())
        tx = skip_non_finite(optax.chain(tx, clip_weights(10.0)))

        def at(iteration):
            w = jnp.zeros(())
            return -tx.update(jnp.ones(()), tx.init(w), w, iteration=iteration)[0]

        return jax.vmap(at)(jnp.array([0, 10, 20]))

    found = jax.jit(jax.vmap(rates))(jnp.array([0.1, 0.2]))
    np.testing.assert_allclose(found, [[0.1, 0.05, 0], [0.2, 0.1, 0]], rtol=1e-6, atol=1e-8)


def test_a_constant_rate_does_not_depend_on_the_schedule():
    """Nor does the structure of the state, so that checkpoints fit."""
    networks = {"generator": MLP(features=(4,), output_shape=(2,)), "critic": MLP(features=(4,))}
    fixed, warm = (build_gan(Config(**networks, warmup=w)) for w in (None, Warmup()))
    start = fixed.init(jax.random.key(0), jnp.zeros((8, 2)))
    assert jax.tree.structure(start) == jax.tree.structure(
        warm.init(jax.random.key(0), jnp.zeros((8, 2)))
    )
    real = RING(jax.random.key(1), 8)
    assert_equal(fixed.critic_step(start, real)[0], warm.critic_step(start, real)[0])
