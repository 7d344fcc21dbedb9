"""Gradients over several batches, and networks that compute in bfloat16."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import MLP, Wasserstein, clip_weights, from_linen, gan, scan_steps, toy
from wgan_jax.experiment.build import _warn_of_float32, build_gan, with_fast_dtype
from wgan_jax.experiment.config import Config
from wgan_jax.testing import check_gan, check_network

REAL = toy.Ring()(jax.random.key(3), 8)
RATE = 0.1


def build(generator_tx, critic_tx, dtype="float32"):
    return gan(
        from_linen(MLP(features=(4,), output_shape=(2,), dtype=dtype)),
        from_linen(MLP(features=(4,), dtype=dtype)),
        Wasserstein(),
        generator_tx=generator_tx,
        critic_tx=critic_tx,
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )


def accumulated(tx, k):
    return optax.MultiSteps(tx, every_k_schedule=k).gradient_transformation()


@pytest.fixture
def promotion():
    """`optax.MultiSteps` divides floats by an integer, which the tests' strict setting refuses."""
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.usefixtures("promotion")
def test_a_critic_moves_by_the_mean_gradient_of_k_batches_and_then_is_clipped():
    k, clip = 3, 0.2
    plain = build(optax.sgd(RATE), optax.sgd(RATE))
    clipped = optax.chain(optax.sgd(RATE), clip_weights(clip))
    model = build(accumulated(optax.sgd(RATE), k), accumulated(clipped, k))
    state, reference = (m.init(jax.random.key(0), REAL) for m in (model, plain))
    start = state.critic.params
    moves = []
    for i in range(k):
        real = jnp.roll(REAL, i, 0) * (1 + i)
        # The reference sees the same noise, since noise follows the count of updates.
        at_start = reference._replace(step=state.step)
        moves.append(plain.critic_step(at_start, real)[0].critic.params)
        jax.tree.map(np.testing.assert_array_equal, state.critic.params, start)
        state, _ = model.critic_step(state, real)
    expected = jax.tree.map(lambda *w: jnp.clip(sum(w) / k, -clip, clip), *moves)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
        state.critic.params,
        expected,
    )
    largest = max(float(jnp.abs(w).max()) for w in jax.tree.leaves(state.critic.params))
    assert largest == np.float32(clip)


@pytest.mark.usefixtures("promotion")
def test_with_both_accumulated_k_iterations_are_n_critic_updates_and_one_of_the_generator():
    k, n_critic = 2, 3
    model = build(accumulated(optax.sgd(RATE), k), accumulated(optax.sgd(RATE), k))
    state = model.init(jax.random.key(0), REAL)
    run = scan_steps(model, n_critic=n_critic, batch_size=8, length=k)
    state, _ = run(state, toy.Ring())
    assert int(state.generator.opt_state.gradient_step) == 1
    assert int(state.critic.opt_state.gradient_step) == n_critic


@pytest.mark.slow
@pytest.mark.usefixtures("promotion")
def test_a_gan_that_accumulates_keeps_the_contract():
    clipped = optax.chain(optax.sgd(RATE), clip_weights(0.2))
    check_gan(build(optax.sgd(RATE), clipped), REAL, clip=0.2)
    # On the way to an update a step leaves the weights as they were.
    model = build(accumulated(optax.sgd(RATE), 2), accumulated(clipped, 2))
    check_gan(model, REAL, skip=("turns",))


def test_in_bfloat16_weights_scores_samples_and_metrics_stay_float32():
    tx = optax.rmsprop(1e-3)
    half, full = build(tx, tx, "bfloat16"), build(tx, tx)
    state = half.init(jax.random.key(0), REAL)
    jax.tree.map(np.testing.assert_array_equal, state[2:], full.init(jax.random.key(0), REAL)[2:])
    reals = jnp.stack([REAL] * 2)
    (state, metrics), (_, exact) = (m.train_step(state, reals) for m in (half, full))
    leaves = [x for x in jax.tree.leaves((state.critic, state.generator, metrics)) if x.ndim]
    assert {x.dtype for x in leaves} == {jnp.dtype("float32")}
    assert half.generate(state, jax.random.key(1), 3).dtype == jnp.float32
    # It did compute with 8 bits, and no worse than that.
    for name in ("critic/gradient_norm", "generator/gradient_norm"):
        away = abs(float(metrics[name]) - float(exact[name])) / abs(float(exact[name]))
        assert 0 < away < 2.0**-4, name


def test_networks_in_bfloat16_keep_the_contract():
    critic = from_linen(MLP(features=(4,), dtype="bfloat16"))
    quick = ("jit", "vmap", "export", "scan", "purity")
    check_network(critic, REAL, scores=True, rtol=2e-2, skip=quick)


def test_runs_in_bfloat16_compute_in_float32_on_a_cpu_and_say_so_once(caplog, monkeypatch):
    _warn_of_float32.cache_clear()  # a process says it once
    config = Config(
        generator=MLP(features=(4,), output_shape=(2,), dtype="bfloat16"),
        critic=MLP(features=(4,), dtype="bfloat16"),
    )

    def program():
        model = build_gan(config)
        state = jax.eval_shape(model.init, jax.random.key(0), REAL)
        return str(jax.make_jaxpr(model.critic_step)(state, REAL))

    assert "bf16" not in program()
    assert "bf16" not in program()
    assert config.critic.dtype == "bfloat16"  # for the accelerator that it may go on on
    assert caplog.text.count("computing in float32: on a CPU bfloat16") == 1
    fresh = MLP(features=(4,), dtype="bfloat16")
    assert with_fast_dtype(fresh).dtype == "float32"
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert with_fast_dtype(fresh) is fresh
    assert "bf16" in program()
