"""Properties that every objective must satisfy."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import MLP, from_linen, gan, scan_steps, toy
from wgan_jax.objectives import (
    Hinge,
    JensenShannon,
    LeastSquares,
    RelativisticPairing,
    Wasserstein,
    is_paired,
)

REAL, FAKE = np.array([2.0, -1.0, 0.5]), np.array([-3.0, 0.25, 1.5])


def softplus(x):
    return np.log1p(np.exp(x))


# objective, critic's loss, generator's loss, estimate; by the formulas of the papers
TABLE = [
    (Wasserstein(), FAKE.mean() - REAL.mean(), -FAKE.mean(), REAL.mean() - FAKE.mean()),
    (
        JensenShannon(generator="minimax"),
        softplus(-REAL).mean() + softplus(FAKE).mean(),
        -softplus(FAKE).mean(),
        math.log(2) - (softplus(-REAL).mean() + softplus(FAKE).mean()) / 2,
    ),
    (
        JensenShannon(generator="non_saturating"),
        softplus(-REAL).mean() + softplus(FAKE).mean(),
        softplus(-FAKE).mean(),
        math.log(2) - (softplus(-REAL).mean() + softplus(FAKE).mean()) / 2,
    ),
    # ((1 + 4 + .25) + (9 + .0625 + 2.25)) / 6 and (16 + .5625 + .25) / 6
    (LeastSquares(), 16.5625 / 6, 16.8125 / 6, 1 - 4 * 16.5625 / 6),
    # relu(1 - f): 0, 2, .5; relu(1 + f): 0, 1.25, 2.5
    (Hinge(), 6.25 / 3, 1.25 / 3, 1 - 6.25 / 6),
    (
        RelativisticPairing(),
        softplus(FAKE - REAL).mean(),
        softplus(REAL - FAKE).mean(),
        math.log(2) - softplus(FAKE - REAL).mean(),
    ),
]
OBJECTIVES = pytest.mark.parametrize("objective", [row[0] for row in TABLE], ids=repr)


@pytest.mark.parametrize(("objective", "critic", "generator", "estimate"), TABLE)
def test_values_are_those_computed_by_hand(objective, critic, generator, estimate):
    real, fake = jnp.asarray(REAL, jnp.float32), jnp.asarray(FAKE, jnp.float32)
    np.testing.assert_allclose(objective.critic_loss(real, fake), critic, rtol=1e-6)
    scores = (fake, real) if is_paired(objective) else (fake,)
    np.testing.assert_allclose(objective.generator_loss(*scores), generator, rtol=1e-6)
    np.testing.assert_allclose(objective.estimate(real, fake), estimate, rtol=1e-5)


@OBJECTIVES
def test_it_trains_in_one_exported_program_over_hyper_parameters(objective, key):
    """jit, vmap over a learning rate, scan and export at once."""
    ring = toy.Ring()

    def losses(rate, key):
        model = gan(
            from_linen(MLP(features=(8,), output_shape=(2,))),
            from_linen(MLP(features=(8,))),
            objective,
            generator_tx=optax.sgd(rate),
            critic_tx=optax.sgd(rate),
            latent=lambda key, n: jax.random.normal(key, (n, 2)),
        )
        state = model.init(jax.random.wrap_key_data(key), jnp.zeros((4, 2)))
        return scan_steps(model, n_critic=2, batch_size=4, length=3)(state, ring)[1]

    program = jax.jit(jax.vmap(losses, in_axes=(0, None)))
    rates, data = jnp.array([1e-3, 1e-1]), jax.random.key_data(key)
    metrics = jax.export.export(program)(rates, data).call(rates, data)
    assert all(jnp.isfinite(m).all() for m in metrics.values())
    assert metrics["critic/loss"][0, -1] != metrics["critic/loss"][1, -1]


def test_an_unknown_generator_loss_is_named():
    with pytest.raises(ValueError, match="'saturating'"):
        JensenShannon(generator="saturating")


def paired_gan(**changes):
    return gan(
        from_linen(MLP(features=(8,), output_shape=(2,))),
        from_linen(MLP(features=(8,))),
        RelativisticPairing(),
        generator_tx=optax.sgd(0.1),
        critic_tx=optax.sgd(0.1),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
        **changes,
    )


def test_a_paired_generator_asks_for_as_many_real_samples(key):
    model = paired_gan()
    real = jax.random.normal(key, (4, 2))
    state = model.init(key, real)
    with pytest.raises(ValueError, match="needs 4 real samples, got 0"):
        model.generator_step(state, 4)
    with pytest.raises(ValueError, match="needs 4 real samples, got 3"):
        model.generator_step(state, 4, real[:3])
    near, far = (model.generator_step(state, 4, x)[1] for x in (real, 9 * real))
    assert near["generator/loss"] != far["generator/loss"]


def test_a_paired_objective_cannot_be_unrolled():
    with pytest.raises(ValueError, match="RelativisticPairing pairs them: set unrolled_steps=0"):
        paired_gan(unrolled_steps=2)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shift", "truth"), [(0.0, 0.0), (10.0, math.log(2))], ids=["identical", "disjoint"]
)
def test_a_trained_discriminator_finds_jensen_shannon(shift, truth, key):
    """Samples of N(0, 1) and N(shift, 1), which at a shift of 10 is as good as disjoint."""
    check_bound(key, shift, truth)


@pytest.mark.slow
@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_a_trained_discriminator_finds_jensen_shannon_in_between(shift, key):
    x = np.linspace(-12, 12 + shift, 200_001)
    p, q = (np.exp(-((x - mean) ** 2) / 2) / np.sqrt(2 * np.pi) for mean in (0, shift))
    m = (p + q) / 2
    truth = np.trapezoid(p * np.log(p / m) + q * np.log(q / m), x) / 2
    check_bound(key, shift, truth)


class Still(nn.Module):
    """The identity."""

    @nn.compact
    def __call__(self, z):
        self.param("unused", nn.initializers.zeros_init(), ())
        return z


def check_bound(key, shift, truth):
    def data(key, n):
        return shift + jax.random.normal(key, (n, 1))

    objective = JensenShannon()
    critic = from_linen(MLP(features=(64, 64)))
    model = gan(
        from_linen(Still()),
        critic,
        objective,
        generator_tx=optax.sgd(0.0),
        critic_tx=optax.adam(optax.linear_schedule(3e-3, 0.0, 1500)),
        latent=lambda key, n: jax.random.normal(key, (n, 1)),
    )
    on_init, on_real, on_fake = jax.random.split(key, 3)
    state = model.init(on_init, jnp.zeros((256, 1)))
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        state, _ = scan_steps(model, n_critic=1, batch_size=256, length=1500)(state, data)
    real, fake = data(on_real, 200_000), jax.random.normal(on_fake, (200_000, 1))
    scores = [
        critic.apply(state.critic.params, state.critic.stats, x, train=False)[0]
        for x in (real, fake)
    ]
    bound = objective.estimate(*scores).item()
    # A bound, up to the error of the mean; within 2% of the largest value, log 2.
    assert truth - 0.02 * math.log(2) <= bound <= truth + 0.005
    assert truth < 0.1 or bound >= 0.98 * truth
