"""Unrolled objectives: the generator's gradient through critic steps."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import (
    MLP,
    JensenShannon,
    Network,
    Wasserstein,
    all_but_norms,
    clip_weights,
    from_linen,
    gan,
    scan_steps,
    skip_non_finite,
    toy,
)
from wgan_jax.transforms.optimizers import Adam, RMSProp

RING = toy.Ring()


def build(steps=None, critic_tx=None, generator_tx=None, **options):
    if steps is not None:
        options["unrolled_steps"] = steps
    return gan(
        from_linen(MLP(features=(8,), output_shape=(2,))),
        from_linen(MLP(features=(8,))),
        options.pop("objective", Wasserstein()),
        generator_tx=optax.sgd(0.1) if generator_tx is None else generator_tx,
        critic_tx=optax.sgd(0.1) if critic_tx is None else critic_tx,
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
        **options,
    )


def run(model, length=3):
    state = model.init(jax.random.key(0), jnp.zeros((4, 2)))
    return scan_steps(model, n_critic=2, batch_size=4, length=length)(state, RING)


def test_zero_steps_are_the_plain_gan_bitwise():
    (plain, plain_metrics), (zero, zero_metrics) = run(build()), run(build(0))
    (ahead, _) = run(build(2))
    same = jax.tree.map(lambda a, b: bool((a == b).all()), plain[2:], zero[2:])
    assert jax.tree.all(same)
    assert all((plain_metrics[name] == zero_metrics[name]).all() for name in plain_metrics)
    first = [jax.tree.leaves(state.generator.params)[0] for state in (plain, ahead)]
    assert not (first[0] == first[1]).all()


def smooth(shape):
    """A perceptron in float64, without a kink."""

    def init(key, x):
        inside, outside = jax.random.split(key)
        width = (x.shape[-1], 5)
        return {
            "in": jax.random.normal(inside, width, jnp.float64),
            "out": jax.random.normal(outside, (5, *shape), jnp.float64),
        }, {}

    def apply(params, stats, x, *, train, key=None):
        return jnp.tanh(x @ params["in"]) @ params["out"], stats

    return Network(init, apply)


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize(
    "critic_tx",
    [
        optax.sgd(0.3),
        optax.rmsprop(0.1, eps_in_sqrt=True),
        optax.sgd(0.3, momentum=0.9),
        optax.chain(optax.sgd(0.3), clip_weights(0.6)),
    ],
    ids=["sgd", "rmsprop", "momentum", "clip"],
)
def test_the_gradient_equals_finite_differences_in_float64(steps, critic_tx):
    with jax.enable_x64(True):
        model = gan(
            smooth((2,)),
            smooth(()),
            JensenShannon(),
            generator_tx=optax.sgd(1.0),
            critic_tx=critic_tx,
            latent=lambda key, n: jax.random.normal(key, (n, 2), jnp.float64),
            unrolled_steps=steps,
        )
        real = jax.random.normal(jax.random.key(1), (6, 2), jnp.float64)
        state = model.init(jax.random.key(0), real)

        def step(params):
            moved = state._replace(generator=state.generator._replace(params=params))
            return model.generator_step(moved, 6, real)

        params = state.generator.params
        after, _ = step(params)
        # With plain descent at rate 1 the step is the gradient.
        gradient = jax.tree.map(lambda a, b: a - b, params, after.generator.params)
        for name, index in (("in", (0, 1)), ("in", (1, 3)), ("out", (2, 0)), ("out", (4, 1))):

            def loss(delta, name=name, index=index):
                moved = params | {name: params[name].at[index].add(delta)}
                return step(moved)[1]["generator/loss"].item()

            h = 1e-5
            difference = (loss(h) - loss(-h)) / (2 * h)
            np.testing.assert_allclose(gradient[name][index], difference, rtol=1e-6, atol=1e-9)


def test_the_minimax_loss_is_the_value_of_the_game_after_the_steps():
    """Metz et al., equation 8; a constant latent makes the steps ahead those of the critic."""
    z = jax.random.normal(jax.random.key(7), (4, 2))
    model = gan(
        from_linen(MLP(features=(8,), output_shape=(2,))),
        from_linen(MLP(features=(8,))),
        Wasserstein(),
        generator_tx=optax.sgd(0.1),
        critic_tx=optax.sgd(0.1),
        latent=lambda key, n: z,
        unrolled_steps=3,
    )
    real = RING(jax.random.key(1), 4)
    state = model.init(jax.random.key(0), real)
    _, metrics = model.generator_step(state, 4, real)
    ahead = state
    for _ in range(3):
        ahead, _ = model.critic_step(ahead, real)
    _, after = model.critic_step(ahead, real)
    np.testing.assert_allclose(metrics["generator/loss"], after["critic/estimate"], rtol=1e-5)


def test_it_trains_in_one_exported_program_over_hyper_parameters():
    """jit, vmap over the critic's learning rate, scan and export at once."""

    def losses(rate):
        return run(build(3, critic_tx=optax.sgd(rate)))[1]

    rates = jnp.array([1e-3, 1e-1])
    metrics = jax.export.export(jax.jit(jax.vmap(losses)))(rates).call(rates)
    assert all(jnp.isfinite(m).all() for m in metrics.values())
    assert metrics["generator/loss"][0, 0] != metrics["generator/loss"][1, 0]


def test_an_optimizer_without_a_derivative_is_refused():
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        with pytest.raises(ValueError, match="eps_root"):
            build(2, critic_tx=Adam().build())
        build(2, critic_tx=Adam(eps_root=1e-8).build())
        with pytest.raises(ValueError, match="eps_root"):
            build(2, critic_tx=RMSProp(preset="torch").build())
        build(2, critic_tx=RMSProp(preset="tf1").build())
        build(0, critic_tx=Adam().build())


@pytest.mark.parametrize("mask", [None, all_but_norms, True])
def test_the_clipped_critic_of_the_paper_can_be_unrolled(mask):
    tx = skip_non_finite(optax.chain(RMSProp(preset="tf1").build(), clip_weights(0.05, mask)))
    state, metrics = run(build(2, critic_tx=tx))
    assert all(jnp.isfinite(m).all() for m in metrics.values())
    weights = jax.tree.leaves(state.critic.params)
    assert all((jnp.abs(w) <= jnp.float32(0.05)).all() for w in weights)


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="-1"):
        build(-1)
    model = build(2)
    state = model.init(jax.random.key(0), jnp.zeros((4, 2)))
    with pytest.raises(ValueError, match="real samples"):
        model.generator_step(state, 4)
