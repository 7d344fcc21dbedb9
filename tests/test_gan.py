"""Algorithm 1, compared with a reference written by hand, and its properties."""

import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgan_jax import (
    MLP,
    DCGANCritic,
    DCGANGenerator,
    EvidenceBound,
    Network,
    Wasserstein,
    clip_weights,
    from_linen,
    gan,
    scan_steps,
    toy,
    vae,
)
from wgan_jax.adaptive import scan_adaptive_steps
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.networks import MLP as LinenMLP  # noqa: N811
from wgan_jax.sharding import data_mesh, shard_batches
from wgan_jax.transforms.optimizers import RMSProp

RING = toy.Ring()


def small(latent=None, c=0.05, rate=1e-3, preset="torch"):
    optimizer = RMSProp(learning_rate=rate, preset=preset)
    return gan(
        from_linen(MLP(features=(16, 16), output_shape=(2,))),
        from_linen(LinenMLP(features=(16, 16))),
        Wasserstein(),
        generator_tx=optimizer.build(),
        critic_tx=optax.chain(optimizer.build(), clip_weights(c)),
        latent=latent or (lambda key, n: jax.random.normal(key, (n, 2))),
    )


def raw(tree):
    is_key = lambda x: jnp.issubdtype(x.dtype, jax.dtypes.prng_key)  # noqa: E731
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


def forward(layers, x):
    kept = [x]
    for i, (w, b) in enumerate(layers):
        x = x @ w + b
        x = np.maximum(x, 0) if i < len(layers) - 1 else x
        kept.append(x)
    return kept


def backward(layers, kept, g):
    grads = []
    for i in reversed(range(len(layers))):
        if i < len(layers) - 1:
            g = g * (kept[i + 1] > 0)
        grads.append((kept[i].T @ g, g.sum(0)))
        g = g @ layers[i][0].T
    return grads[::-1], g


def rmsprop(layers, grads, nu, rate):
    nu = [tuple(0.99 * n + 0.01 * g**2 for n, g in zip(*p, strict=True)) for p in zip(nu, grads)]  # noqa: B905
    moved = [
        tuple(w - rate * g / (np.sqrt(n) + 1e-8) for w, g, n in zip(*p, strict=True))
        for p in zip(layers, grads, nu, strict=True)
    ]
    return moved, nu


def test_three_iterations_equal_a_reference_by_hand(key):
    n, rate, c = 8, 1e-3, 0.05
    z = np.random.default_rng(0).normal(size=(n, 2))
    reals = np.random.default_rng(1).normal(size=(3, 5, n, 2))
    model = small(lambda key, n: jnp.asarray(z, jnp.float32))
    state = model.init(key, jnp.zeros((n, 2)))

    def layers(player):
        dense = [player.params[f"Dense_{i}"] for i in range(3)]
        return [(np.asarray(d["kernel"], float), np.asarray(d["bias"], float)) for d in dense]

    g, f = layers(state.generator), layers(state.critic)
    zero = lambda net: [tuple(np.zeros_like(w) for w in layer) for layer in net]  # noqa: E731
    g_nu, f_nu = zero(g), zero(f)
    for real in reals:
        for x in real:
            fake = forward(g, z)[-1]
            up, _ = backward(f, forward(f, x), np.full((n, 1), -1 / n))
            down, _ = backward(f, forward(f, fake), np.full((n, 1), 1 / n))
            grads = [tuple(a + b for a, b in zip(*p, strict=True)) for p in zip(up, down)]  # noqa: B905
            f, f_nu = rmsprop(f, grads, f_nu, rate)
            f = [tuple(np.clip(w, -c, c) for w in layer) for layer in f]
        kept = forward(g, z)
        _, at_fake = backward(f, forward(f, kept[-1]), np.full((n, 1), -1 / n))
        g, g_nu = rmsprop(g, backward(g, kept, at_fake)[0], g_nu, rate)
    for real in reals:
        state, _ = model.train_step(state, jnp.asarray(real, jnp.float32))
    for ours, theirs in ((layers(state.generator), g), (layers(state.critic), f)):
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-5)


@settings(max_examples=3, deadline=None)
@given(cuts=st.sampled_from([(6,), (3, 3), (1, 5), (2, 4), (1, 2, 3)]))
def test_a_run_does_not_depend_on_its_chunks(cuts):
    model = small()
    start = model.init(jax.random.key(0), jnp.zeros((16, 2)))
    whole, _ = scan_steps(model, n_critic=2, batch_size=16, length=6)(start, RING)
    state = start
    for length in cuts:
        state, metrics = scan_steps(model, n_critic=2, batch_size=16, length=length)(state, RING)
        assert metrics["critic/loss"].shape == (length,)
    chex.assert_trees_all_equal(raw(state), raw(whole))


def test_vmap_over_seeds_and_hyperparameters_equals_separate_runs():
    def run(seed, rate, c):
        model = gan(
            from_linen(MLP(features=(16,), output_shape=(2,))),
            from_linen(MLP(features=(16,))),
            Wasserstein(),
            generator_tx=optax.sgd(rate),
            critic_tx=optax.chain(optax.sgd(rate), clip_weights(c)),
            latent=lambda key, n: jax.random.normal(key, (n, 2)),
        )
        state = model.init(jax.random.key(seed), jnp.zeros((16, 2)))
        return raw(scan_steps(model, n_critic=2, batch_size=16, length=4)(state, RING)[0])

    seeds, rates = jnp.arange(3), jnp.array([1e-3, 1e-2, 1e-1])
    clips = jnp.array([0.01, 0.05, 0.1])
    together = jax.jit(jax.vmap(run))(seeds, rates, clips)
    for i in range(3):
        alone = jax.jit(run)(seeds[i], rates[i], clips[i])
        member = jax.tree.map(lambda x, i=i: x[i], together)
        chex.assert_trees_all_close(member, alone, rtol=1e-5, atol=1e-6)


@given(
    scores=st.lists(st.floats(-10, 10, width=16), min_size=4, max_size=4),
    others=st.lists(st.floats(-10, 10, width=16), min_size=4, max_size=4),
    constant=st.floats(-10, 10, width=16),
)
def test_the_critic_loss_ignores_constants_and_is_antisymmetric(scores, others, constant):
    real, fake = jnp.array(scores, jnp.float32), jnp.array(others, jnp.float32)
    loss = Wasserstein().critic_loss
    np.testing.assert_allclose(loss(real + constant, fake + constant), loss(real, fake), atol=1e-4)
    np.testing.assert_allclose(loss(fake, real), -loss(real, fake), atol=1e-6)


def test_no_host_transfer_inside_a_chunk(key):
    model = small()
    state = model.init(key, jnp.zeros((16, 2)))
    run = jax.jit(scan_steps(model, n_critic=5, batch_size=16, length=4), donate_argnums=0)
    state, _ = run(state, RING)
    with jax.transfer_guard("disallow"):
        state, _ = run(state, RING)
    assert int(state.step) == 8


def test_draws_never_share_a_key(key):
    keys = [
        tuple(np.asarray(jax.random.key_data(derive_key(key, purpose, step))).tolist())
        for purpose in Purpose
        for step in range(20)
    ]
    assert len(set(keys)) == len(keys)


def test_critic_steps_are_a_loop_on_a_cpu_and_unrolled_on_a_gpu():
    """A GPU takes up to three times as long for the loop."""
    model = small()
    state = model.init(jax.random.key(0), RING(jax.random.key(1), 8))
    traced = model.train_step.trace(state, jnp.zeros((5, 8, 2)))
    programs = {
        platform: traced.lower(lowering_platforms=(platform,)).as_text()
        for platform in ("cpu", "cuda", "tpu")
    }
    loops = {platform: text.count("stablehlo.while") for platform, text in programs.items()}
    assert loops["cuda"] < min(loops["cpu"], loops["tpu"])


@pytest.mark.parametrize("size", [8, 32, 64])
def test_the_dcgan_step_lowers_for_all_platforms(size):
    channels = 3
    model = gan(
        from_linen(DCGANGenerator(image_size=size, channels=channels)),
        from_linen(DCGANCritic(image_size=size, channels=channels)),
        Wasserstein(),
        generator_tx=RMSProp().build(),
        critic_tx=optax.chain(RMSProp().build(), clip_weights(0.01)),
        latent=lambda key, n: jax.random.normal(key, (n, 100)),
    )
    reals = jax.ShapeDtypeStruct((5, 64, size, size, channels), jnp.float32)
    real = jax.ShapeDtypeStruct(reals.shape[1:], reals.dtype)
    state = jax.eval_shape(model.init, jax.random.key(0), real)
    exported = jax.export.export(model.train_step, platforms=("tpu", "cuda", "cpu"))(state, reals)
    assert exported.platforms == ("tpu", "cuda", "cpu")


@pytest.mark.parametrize(
    ("module", "count"),
    [
        (DCGANGenerator(image_size=64, channels=3), 3_576_704),
        (DCGANGenerator(image_size=64, channels=3, norm="none", constant_filters=True), 302_080),
        (DCGANCritic(image_size=64, channels=3), 2_765_568),
    ],
)
def test_parameter_counts_are_those_of_the_reference(module, count):
    x = jnp.zeros((2, 64, 64, 3) if isinstance(module, DCGANCritic) else (2, 100))
    variables = jax.eval_shape(module.init, jax.random.key(0), x)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == count


@pytest.mark.parametrize("size", [30, 6, 0, (32, 30), (8, 8, 8)], ids=str)
def test_sizes_that_are_not_offered_are_refused(size):
    with pytest.raises(ValueError, match=re.escape(str(size))):
        DCGANGenerator(image_size=size).init(jax.random.key(0), jnp.zeros((2, 10)))


def test_clipping_before_the_step_leaves_the_box_and_returns_to_it(key):
    from functools import partial

    from wgan_jax import project_weights

    model = gan(
        from_linen(MLP(features=(16,), output_shape=(2,))),
        from_linen(MLP(features=(16,))),
        Wasserstein(),
        generator_tx=optax.sgd(0.1),
        critic_tx=optax.sgd(0.1),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
        critic_projection=partial(project_weights, c=0.05),
    )
    real = 5 * jnp.ones((16, 2))
    state, _ = model.critic_step(model.init(key, real), real)
    largest = max(float(jnp.abs(w).max()) for w in jax.tree.leaves(state.critic.params))
    assert largest > 0.05  # the generator meets an unclipped critic, as in the reference code


@pytest.mark.parametrize("preset", ["torch", "tf1", "optax"])
def test_rmsprop_presets_take_the_first_step_of_their_framework(preset):
    g, rate = 0.5, 1e-2
    tx = RMSProp(learning_rate=rate, preset=preset).build()
    update, _ = tx.update(jnp.array(g), tx.init(jnp.array(0.0)), jnp.array(0.0))
    expected = {
        "torch": g / (np.sqrt(0.01 * g**2) + 1e-8),
        "tf1": g / np.sqrt(0.9 + 0.1 * g**2 + 1e-10),
        "optax": g / np.sqrt(0.1 * g**2 + 1e-8),
    }[preset]
    np.testing.assert_allclose(update, -rate * expected, rtol=1e-5)


def test_a_step_compiles_once_whatever_numbers_a_network_starts_from(key):
    traces = []

    def apply(params, stats, x, *, train, key=None):
        traces.append(x)
        return x @ params["w"] + params["b"], stats

    model = gan(
        from_linen(MLP(features=(4,), output_shape=(2,))),
        Network(lambda key, x: ({"w": jnp.full(2, 0.1), "b": 0.0}, {}), apply),
        Wasserstein(),
        generator_tx=optax.sgd(1.0),
        critic_tx=optax.rmsprop(1.0),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )
    state, _ = model.critic_step(model.init(key, jnp.ones((4, 2))), jnp.ones((4, 2)))
    once = len(traces)
    model.critic_step(state, jnp.ones((4, 2)))
    assert len(traces) == once


def test_a_generator_and_a_decoder_with_dropout_train(key):
    settings = {
        "generator_tx": optax.sgd(1e-3),
        "critic_tx": optax.sgd(1e-3),
        "latent": lambda key, n: jax.random.normal(key, (n, 2)),
    }
    dropped = from_linen(MLP(features=(32,), output_shape=(2,), dropout=0.5))
    real = RING(key, 8)
    for model in (
        gan(dropped, from_linen(MLP(features=(8,))), Wasserstein(), **settings),
        vae(
            dropped, from_linen(MLP(output_shape=(4,), features=(8,))), EvidenceBound(), **settings
        ),
    ):
        state = model.init(jax.random.key(0), real)
        _, metrics = model.train_step(state, real[None])
        assert all(jnp.isfinite(m) for m in metrics.values())
        other = state._replace(key=jax.random.key(1))
        assert model.train_step(other, real[None])[1]["generator/loss"] != metrics["generator/loss"]


class Steps:
    """A sampler that is not a pytree and gives batches by step."""

    def __call__(self, key, n):
        return jnp.full((n, 2), 100.0)

    def at(self, key, step, n):
        return jnp.full((n, 2), step, jnp.float32)


@pytest.mark.parametrize("wrap", [lambda s: s, lambda s: shard_batches(s, data_mesh())])
def test_batches_by_step_are_used_whatever_the_sampler_is(wrap, key):
    model = small(c=10.0, rate=0.0)
    state = model.init(key, jnp.zeros((4, 2)))
    state = state._replace(step=state.step._replace(critic=jnp.int32(6)))
    expected = model.train_step(state, jnp.stack([Steps().at(key, i, 4) for i in (6, 7)]))[1]
    run = scan_steps(model, n_critic=2, batch_size=4, length=1)
    np.testing.assert_allclose(
        run(state, wrap(Steps()))[1]["critic/estimate"][0], expected["critic/estimate"], rtol=1e-5
    )
    run = scan_adaptive_steps(model, block=1, most=2, tolerance=0, batch_size=4, length=1)
    np.testing.assert_allclose(
        run(state, wrap(Steps()))[1]["critic/estimate"][0], expected["critic/estimate"], rtol=1e-5
    )
