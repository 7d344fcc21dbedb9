"""Members of a population equal their solo runs."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import (
    MLP,
    DCGANCritic,
    DCGANGenerator,
    GradientPenalty,
    ResNetCritic,
    ResNetGenerator,
    Wasserstein,
    clip_weights,
    from_linen,
    gan,
    population,
    scan_steps,
    toy,
)

RING = toy.Ring()
SIZES = {"n_critic": 2, "batch_size": 8, "length": 4}
HYPERS = {
    "rate": jnp.array([1e-3, 5e-3, 1e-2, 2e-2]),
    "c": jnp.array([0.01, 0.05, 0.05, 0.1]),
    "weight": jnp.array([0.0, 1.0, 10.0, 10.0]),
}


def keys(n):
    return jax.random.split(jax.random.key(5), n)


def make(hyper):
    return gan(
        from_linen(MLP(features=(16,), output_shape=(2,))),
        from_linen(MLP(features=(16,))),
        Wasserstein(),
        generator_tx=optax.rmsprop(hyper["rate"]),
        critic_tx=optax.chain(optax.rmsprop(hyper["rate"]), clip_weights(hyper["c"])),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
        penalty=GradientPenalty(weight=hyper["weight"]),
    )


def trained(**options):
    many = population(make, **SIZES, **options)
    states = many.init(keys(4), HYPERS, RING(jax.random.key(1), 8))
    return many.run(states, HYPERS, RING)


@jax.jit
def alone(key, hyper):
    solo = make(hyper)
    state = solo.init(key, RING(jax.random.key(1), 8))
    return scan_steps(solo, **SIZES)(state, RING)


@pytest.mark.parametrize("devices", [1, None], ids=["one device", "all devices"])
def test_each_member_is_its_solo_run(devices):
    states, metrics = trained(devices=jax.devices()[:devices])
    found = jax.device_get((states[2:], metrics))
    for i, key in enumerate(keys(4)):
        hyper = jax.tree.map(lambda x, i=i: x[i], HYPERS)
        state, solo_metrics = alone(key, hyper)
        member, member_metrics = jax.tree.map(lambda x, i=i: x[i], found)
        chex.assert_trees_all_close(member, state[2:], rtol=1e-5, atol=1e-6)
        chex.assert_trees_all_close(member_metrics, solo_metrics, rtol=1e-5, atol=1e-6)
        weights = jax.tree.leaves(member[0].params)
        assert all((np.abs(w) <= np.float32(hyper["c"])).all() for w in weights)


def test_members_are_shared_among_the_devices():
    states, _ = trained()
    used = {shard.device for shard in jax.tree.leaves(states)[-1].addressable_shards}
    assert len(used) == len(jax.devices()) == 2


@pytest.mark.parametrize(
    ("generator", "critic"),
    [
        (DCGANGenerator, partial(DCGANCritic, spectral_norm=True, norm="none")),
        (ResNetGenerator, ResNetCritic),
    ],
    ids=["DCGAN", "ResNet"],
)
def test_image_networks_are_shared_among_devices(generator, critic):
    """They compute in one way on a CPU and in another elsewhere, which both must agree on."""
    sizes = {"image_size": 8, "channels": 1, "filters": 2}
    model = gan(
        from_linen(generator(**sizes)),
        from_linen(critic(**sizes)),
        Wasserstein(),
        generator_tx=optax.rmsprop(1e-3),
        critic_tx=optax.rmsprop(1e-3),
        latent=lambda key, n: jax.random.normal(key, (n, 4)),
    )
    many, images = population(lambda _: model, **SIZES), jnp.zeros((8, 8, 8, 1))
    states = jax.eval_shape(many.init, keys(2), None, images)
    sampler = jax.tree_util.Partial(lambda key, n: jax.random.normal(key, (n, 8, 8, 1)))
    _, metrics = jax.eval_shape(lambda states: many.run(states, None, sampler), states)
    assert metrics["critic/loss"].shape == (2, 4)


def test_seeds_alone_need_no_hyper_parameters():
    hyper = {"rate": 1e-3, "c": 0.05, "weight": 1.0}
    many = population(lambda _: make(hyper), **SIZES)
    states = many.init(keys(3), None, RING(jax.random.key(1), 8))
    _, metrics = many.run(states, None, RING)
    estimates = metrics["critic/estimate"]
    assert estimates.shape == (3, 4)
    assert len(set(estimates[:, -1].tolist())) == 3


def test_it_lowers_for_every_platform():
    many = population(make, **SIZES, devices=jax.devices()[:1])
    states = jax.eval_shape(many.init, keys(4), HYPERS, RING(jax.random.key(1), 8))

    def run(states):
        return many.run(states, HYPERS, RING)

    exported = jax.export.export(jax.jit(run), platforms=("cpu", "cuda", "tpu"))(states)
    assert exported.platforms == ("cpu", "cuda", "tpu")


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="length must be an integer of at least 1, got 0"):
        population(make, n_critic=1, batch_size=8, length=0)
    many = population(make, **SIZES)
    with pytest.raises(ValueError, match=r"leading axis of members.*\(3,\)"):
        many.init(keys(3), HYPERS, RING(jax.random.key(1), 8))
