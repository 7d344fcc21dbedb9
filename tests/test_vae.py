"""The VAE baseline trains like a GAN, and its evidence bound is correct."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import MLP, EvidenceBound, Network, from_linen, scan_steps, vae


def build(noise=0.5, rate=1e-2, code=2, **options):
    return vae(
        from_linen(MLP(features=(16,), output_shape=(3,))),
        from_linen(MLP(features=(16,), output_shape=(2 * code,))),
        EvidenceBound(observation_noise=noise, **options),
        generator_tx=optax.rmsprop(rate),
        critic_tx=optax.rmsprop(rate),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )


def data(key, n):
    return 1.0 + jax.random.normal(key, (n, 3))


def test_the_bound_is_that_computed_by_hand():
    x, decoded = jnp.array([[1.0, 2.0]]), jnp.array([[0.0, 2.5]])
    mean, log_var = jnp.array([[0.5, -1.0]]), jnp.log(jnp.array([[2.0, 0.5]]))
    squares = 1.0 + 0.25
    likelihood = -squares / (2 * 0.04) - math.log(2 * math.pi * 0.04)
    divergence = (0.25 + 2 - math.log(2) - 1 + 1 + 0.5 - math.log(0.5) - 1) / 2
    bound = EvidenceBound(observation_noise=0.2)(x, decoded, mean, log_var)
    np.testing.assert_allclose(bound, [likelihood - divergence], rtol=1e-5)


def test_the_exact_posterior_makes_the_bound_tight():
    """g(z) = 2 z, x ~ N(0, 4 + noise^2): with the true posterior, E bound = E log p(x)."""
    noise = 0.5
    variance = 4 + noise**2
    gain = 2 / variance
    posterior = noise**2 / variance

    def encode(params, stats, x, *, train, key=None):
        return jnp.concatenate([gain * x, jnp.full_like(x, math.log(posterior))], 1), stats

    nothing = {"w": jnp.zeros(())}
    model = vae(
        Network(lambda key, z: (nothing, {}), lambda p, s, z, *, train, key=None: (2 * z, s)),
        Network(lambda key, x: (nothing, {}), encode),
        EvidenceBound(observation_noise=noise),
        generator_tx=optax.sgd(0.0),
        critic_tx=optax.sgd(0.0),
        latent=lambda key, n: jax.random.normal(key, (n, 1)),
    )
    x = math.sqrt(variance) * jax.random.normal(jax.random.key(1), (100_000, 1))
    _, metrics = model.critic_step(model.init(jax.random.key(0), x), x)
    truth = -(1 + math.log(2 * math.pi * variance)) / 2
    np.testing.assert_allclose(metrics["critic/estimate"], truth, rtol=0.01)


def test_each_step_moves_its_own_player_and_raises_the_bound(key):
    model = build()
    state = model.init(key, jnp.zeros((64, 3)))
    encoded, _ = model.critic_step(state, jnp.ones((64, 3)))
    decoded, _ = model.generator_step(state, 64, jnp.ones((64, 3)))
    for moved, still in ((encoded, "generator"), (decoded, "critic")):
        same = jax.tree.map(
            lambda a, b: (a == b).all(), getattr(moved, still), getattr(state, still)
        )
        assert jax.tree.all(same)
    state, metrics = scan_steps(model, n_critic=1, batch_size=64, length=300)(state, data)
    bound = metrics["critic/estimate"]
    assert bound[-20:].mean() > bound[:20].mean() + 1
    np.testing.assert_allclose(model.generate(state, jax.random.key(1), 500).mean(0), 1.0, atol=0.4)


def test_samples_have_the_observation_noise_if_asked(key):
    state = build().init(key, jnp.zeros((4, 3)))
    on_samples = jax.random.key(1)
    means = build().generate(state, on_samples, 20_000)
    noisy = build(noisy_samples=True).generate(state, jax.random.clone(on_samples), 20_000)
    np.testing.assert_allclose((noisy - means).std(), 0.5, rtol=0.02)


def test_it_trains_in_one_exported_program_over_the_noise(key):
    """jit, vmap over the observation noise, scan and export at once."""

    def losses(noise, key):
        model = build(noise)
        state = model.init(jax.random.wrap_key_data(key), jnp.zeros((4, 3)))
        return scan_steps(model, n_critic=2, batch_size=4, length=3)(state, data)[1]

    arguments = jnp.array([0.1, 1.0]), jax.random.key_data(key)
    program = jax.jit(jax.vmap(losses, in_axes=(0, None)))
    metrics = jax.export.export(program)(*arguments).call(*arguments)
    assert all(jnp.isfinite(m).all() for m in metrics.values())
    assert metrics["critic/loss"][0, -1] != metrics["critic/loss"][1, -1]


def test_bad_input_is_named(key):
    with pytest.raises(ValueError, match=r"-0\.1"):
        EvidenceBound(observation_noise=-0.1)
    model = build()
    state = model.init(key, jnp.zeros((4, 3)))
    with pytest.raises(ValueError, match="4 real samples"):
        model.generator_step(state, 4)
    with pytest.raises(ValueError, match="labels"):
        model.init(jax.random.clone(key), (jnp.zeros((4, 3)), jnp.zeros(4, jnp.int32)))
    with pytest.raises(ValueError, match=r"\(3,\).*\(5,\)"):
        model.init(jax.random.clone(key), jnp.zeros((4, 5)))
    wrong = build(code=3)
    with pytest.raises(ValueError, match=r"\[4, 4\]; got \[4, 6\]"):
        wrong.critic_step(wrong.init(jax.random.clone(key), jnp.zeros((4, 3))), jnp.zeros((4, 3)))
