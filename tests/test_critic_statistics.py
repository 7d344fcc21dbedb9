"""Spectral norm, batch norm and other statistics of the critic in a critic step."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import DCGANCritic, Network, ResNetCritic, Wasserstein, from_linen, gan
from wgan_jax.networks import MLP as LinenMLP  # noqa: N811

IDENTITY = Network(
    init=lambda key, z: ({}, {}), apply=lambda params, stats, z, *, train, key=None: (z, stats)
)


def renormalized():
    """Divides scores by a running scale of the samples, in training too."""

    def init(key, x):
        return {"w": jax.random.normal(key, x.shape[1:])}, {"scale": jnp.ones(())}

    def apply(params, stats, x, *, train, key=None):
        scores = x @ params["w"] / stats["scale"]
        return scores, {"scale": 0.9 * stats["scale"] + 0.1 * jnp.abs(x).mean() if train else 1.0}

    return Network(init, apply)


IMAGES = {"image_size": 16, "channels": 1, "filters": 2}


@pytest.mark.parametrize(
    ("critic", "shape"),
    [
        (from_linen(LinenMLP(features=(8, 8), spectral_norm=True)), (2,)),
        (from_linen(DCGANCritic(norm="none", spectral_norm=True, **IMAGES)), (16, 16, 1)),
        (from_linen(DCGANCritic(norm="batch", spectral_norm=True, **IMAGES)), (16, 16, 1)),
        (from_linen(ResNetCritic(spectral_norm=True, **IMAGES)), (16, 16, 1)),
        (renormalized(), (2,)),
    ],
    ids=["mlp", "dcgan", "dcgan with batch norm", "resnet", "own statistics"],
)
def test_real_and_fake_samples_are_scored_by_one_function(critic, shape, key):
    """Equal samples have distance zero, whatever state the critic carries."""
    x = 1 + jax.random.normal(key, (8, *shape))
    model = gan(
        IDENTITY,
        critic,
        Wasserstein(),
        generator_tx=optax.identity(),
        critic_tx=optax.sgd(0.05),
        latent=lambda key, n: x,
    )
    state = model.init(jax.random.key(0), x)
    for _ in range(3):
        state, metrics = model.critic_step(state, x)
        assert abs(metrics["critic/estimate"]) <= 1e-6


def test_the_power_iteration_advances_once_and_batch_norm_twice_per_critic_step(key):
    critic = from_linen(DCGANCritic(norm="batch", spectral_norm=True, **IMAGES))
    on_real, on_fake = jax.random.split(key)
    real, fake = (jax.random.normal(k, (4, 16, 16, 1)) for k in (on_real, on_fake))
    model = gan(
        IDENTITY,
        critic,
        Wasserstein(),
        generator_tx=optax.identity(),
        critic_tx=optax.sgd(0.0),
        latent=lambda key, n: fake,
    )
    state = model.init(jax.random.key(0), real)
    after = model.critic_step(state, real)[0].critic.stats
    first = critic.apply(state.critic.params, state.critic.stats, real, train=True)[1]
    mixed = first | {"spectral_stats": state.critic.stats["spectral_stats"]}
    second = critic.apply(state.critic.params, mixed, fake, train=True)[1]
    for kind, expected in (("spectral_stats", first), ("batch_stats", second)):
        for a, b in zip(*map(jax.tree.leaves, (after[kind], expected[kind])), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-7)
