"""Broken GANs and optimizers fail the right property of `check_gan` and `check_optimizer`."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import MLP, Wasserstein, clip_weights, from_linen, gan, toy
from wgan_jax.testing import check_gan, check_optimizer

REAL = toy.Ring()(jax.random.key(3), 4)


def latent(key, n):
    return jax.random.normal(key, (n, 2))


def perceptron(features, output_shape=()):
    return from_linen(MLP(features=(features,), output_shape=output_shape))


def build(critic=None, generator=None, clip=0.05, **options):
    kept = optax.identity() if clip is None else clip_weights(clip)
    return gan(
        generator or perceptron(3, (2,)),
        critic or perceptron(3),
        Wasserstein(),
        generator_tx=optax.sgd(1e-2),
        critic_tx=options.pop("critic_tx", optax.chain(optax.sgd(1e-2), kept)),
        latent=options.pop("latent", latent),
        **options,
    )


GOOD = build()


def critic_of(state, **changes):
    return state._replace(critic=state.critic._replace(**changes))


def moves_the_generator(state, real):
    after, metrics = GOOD.critic_step(state, real)
    doubled = jax.tree.map(lambda w: 2 * w, after.generator.params)
    return after._replace(generator=after.generator._replace(params=doubled)), metrics


def stands_still(state, real):
    after, metrics = GOOD.critic_step(state, real)
    return critic_of(after, params=state.critic.params), metrics


def does_not_count(state, real):
    after, metrics = GOOD.critic_step(state, real)
    return after._replace(step=state.step), metrics


def walks_with_its_key(state, real):
    after, metrics = GOOD.critic_step(state, real)
    return after._replace(key=jax.random.fold_in(after.key, 1)), metrics


def drifts_to_half(state, real):
    after, metrics = GOOD.critic_step(state, real)
    return critic_of(
        after, params=jax.tree.map(lambda w: w.astype(jnp.float16), after.critic.params)
    ), metrics


def drifts_to_weak(state, real):
    after, metrics = GOOD.critic_step(state, real)
    weak = jax.tree.map(lambda w: w.at[...].get(), after.critic.params)
    zero = jnp.asarray(0.0)
    biases = jax.tree.map(lambda w: jnp.full(w.shape, 0.5) + zero, weak)  # a weakly typed full
    return critic_of(after, params=biases), metrics


def reports_a_vector(state, real):
    after, metrics = GOOD.critic_step(state, real)
    return after, metrics | {"critic/loss": metrics["critic/loss"].reshape(1)}


def forgets_its_estimate(state, real):
    after, metrics = GOOD.critic_step(state, real)
    return after, {"critic/loss": metrics["critic/loss"]}


def goes_to_nan(state, real):
    after, metrics = GOOD.critic_step(state, real)
    nowhere = jax.tree.map(lambda w: w / 0 * 0, after.critic.params)
    return critic_of(after, params=nowhere), metrics


def one_batch_for_all(state, reals):
    return GOOD.train_step(state, jnp.stack([reals[0]] * len(reals)))


def forgets_a_critic_step(state, reals):
    after, metrics = GOOD.train_step(state, reals[1:])
    return after._replace(step=after.step._replace(critic=after.step.critic + 1)), metrics


def generator_first(state, reals):
    state, generator_metrics = GOOD.generator_step(state, reals.shape[1])
    state, history = jax.lax.scan(GOOD.critic_step, state, reals)
    return state, jax.tree.map(lambda m: m[-1], history) | generator_metrics


def holds_a_float(key, real):
    state = GOOD.init(key, real)
    return critic_of(state, stats={"rate": 0.5})


def looks_at_values(key, real):
    state = GOOD.init(key, real)
    return critic_of(state, params=jax.tree.map(lambda w: w + real.mean(), state.critic.params))


def shares_its_arrays(key, real):
    """The average of the weights starts as the very same arrays."""
    state = GOOD.init(key, real)
    return critic_of(state, stats={"average": state.critic.params})


def ignores_its_key(state, key, n):
    return GOOD.generate(state, jax.random.key(0), n)


def normalizes_over_the_batch(state, key, n):
    samples = GOOD.generate(state, key, n)
    return samples - samples.mean(0, keepdims=True)


def returns_integers(state, key, n):
    return GOOD.generate(state, key, n).astype(jnp.int32)


def draws_on_numpy(state, real):
    return GOOD.critic_step(state, real + np.random.normal(size=real.shape).astype(np.float32))  # noqa: NPY002


def says_so(state, real):
    jax.debug.callback(lambda loss: None, real.sum())
    return GOOD.critic_step(state, real)


def knows_when_it_is_compiled(state, real):
    return GOOD.critic_step(state, 2 * real if isinstance(real, jax.core.Tracer) else real)


@jax.custom_batching.custom_vmap
def shifted(real):
    return real


@shifted.def_vmap
def _(size, batched, real):
    return real + 1.0, batched[0]


def changes_under_vmap(key, real):
    on_weights = jax.random.key_data(key).astype(jnp.float32) * 1e-12
    state = GOOD.init(key, real)
    nudge = shifted(on_weights).sum()
    return critic_of(state, params=jax.tree.map(lambda w: w + nudge, state.critic.params))


def asks_the_host(state, reals):
    after, metrics = GOOD.train_step(state, reals)
    like = jax.ShapeDtypeStruct((), jnp.float32)
    loss = jax.pure_callback(lambda x: x, like, metrics["critic/loss"])
    return after, metrics | {"critic/loss": loss}


BROKEN = [
    ("init", {"init": holds_a_float}, "arrays only.*float"),
    ("init", {"init": looks_at_values}, "values of the samples"),
    ("structure", {"critic_step": drifts_to_half}, "float16"),
    ("structure", {"critic_step": drifts_to_weak}, "weak_type"),
    ("alternation", {"critic_step": moves_the_generator}, "critic_step changes the generator"),
    ("alternation", {"critic_step": stands_still}, "leaves the weights of the critic"),
    ("counters", {"critic_step": does_not_count}, "0 generator and 0 critic"),
    ("counters", {"critic_step": walks_with_its_key}, "root key"),
    ("metrics", {"critic_step": reports_a_vector}, r"critic/loss.*scalar.*\(1,\)"),
    ("metrics", {"critic_step": forgets_its_estimate}, "critic/estimate"),
    ("finite", {"critic_step": goes_to_nan}, "after critic_step"),
    ("scan", {"train_step": one_batch_for_all}, "differs from a loop"),
    ("scan", {"train_step": forgets_a_critic_step}, "differs from a loop"),
    ("scan", {"train_step": generator_first}, "in norm, more than"),
    ("generate", {"generate": ignores_its_key}, "different keys give the same samples"),
    ("generate", {"generate": normalizes_over_the_batch}, "neighbor"),
    ("generate", {"generate": returns_integers}, "int32"),
    ("purity", {"critic_step": draws_on_numpy}, "outside its arguments|different results"),
    ("purity", {"critic_step": says_so}, "side effects"),
    ("jit", {"critic_step": knows_when_it_is_compiled}, "run eagerly"),
    ("vmap", {"init": changes_under_vmap}, "under vmap"),
    ("donation", {"init": shares_its_arrays}, "donate"),
    ("export", {"train_step": asks_the_host}, "callback"),
]
PROGRAMS = {"purity", "chunks", "jit", "vmap", "donation", "export"}


COMPILES_MUCH = {"jit", "vmap", "donation"}


@pytest.mark.parametrize(
    ("name", "functions", "told"),
    [
        pytest.param(
            *row,
            id=next(iter(row[1].values())).__name__,
            marks=[pytest.mark.slow] if row[0] in COMPILES_MUCH else [],
        )
        for row in BROKEN
    ],
)
def test_a_broken_gan_is_caught(name, functions, told):
    # A step that is not seen to be broken is stopped by an earlier property otherwise.
    others = PROGRAMS | ({"scan", "keys"} if name not in ("scan", "keys") else set())
    with pytest.raises(AssertionError, match=rf"(?s)check_gan, {name} \(.*{told}"):
        check_gan(GOOD._replace(**functions), REAL, clip=0.05, skip=others - {name})


def fixed_key_penalty(critic, real, fake, key):
    t = jax.random.uniform(jax.random.key(7), real.shape[:1])[:, None]
    return jnp.square(critic(t * real + (1 - t) * fake)).mean()


def latent_from_one_key(key, n):
    return jax.random.normal(jax.random.key(1), (n, 2))


def latent_that_uses_its_key_twice(key, n):
    return jnp.stack([jax.random.normal(key, (n,)), jax.random.uniform(key, (n,))], 1)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"penalty": fixed_key_penalty}, "repeat a key"),
        ({"latent": latent_from_one_key}, "repeat a key"),
        ({"latent": latent_that_uses_its_key_twice}, "repeat a key"),
    ],
    ids=lambda value: next(iter(value.values())).__name__ if isinstance(value, dict) else "",
)
def test_a_key_that_is_used_again_is_caught(options, told):
    with jax.debug_key_reuse(False):  # a user's own program seldom has the checker on
        model = build(**options)
        others = PROGRAMS | {
            "init",
            "generate",
            "alternation",
            "counters",
            "metrics",
            "finite",
            "scan",
        }
        with pytest.raises(AssertionError, match=rf"(?s)check_gan, keys \(.*{told}"):
            check_gan(model, REAL, clip=0.05, skip=others)


def naive_clip(c):
    """The box missed by rounding."""

    def update(updates, state, params):
        return jax.tree.map(
            lambda u, w: jnp.clip(w + u, -c.astype(w.dtype), c.astype(w.dtype)) - w, updates, params
        ), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


WEIGHTS = {"w": jax.random.normal(jax.random.key(0), (400,)).astype(jnp.bfloat16)}


@pytest.mark.parametrize(
    "tx",
    [
        optax.sgd(1e-2),
        optax.chain(optax.clip(0.01), optax.sgd(1e-2)),
        optax.chain(clip_weights(0.01), optax.sgd(1.0)),
        optax.chain(optax.sgd(1e-2), naive_clip(jnp.float32(0.01))),
    ],
    ids=["forgotten", "gradients clipped", "clipped before the step", "missed by rounding"],
)
def test_a_box_that_is_left_is_caught(tx):
    with pytest.raises(AssertionError, match="has magnitude"):
        check_optimizer(tx, WEIGHTS, clip=0.01)


@pytest.mark.parametrize(
    "critic_tx", [optax.sgd(1e-2), optax.chain(optax.clip(0.05), optax.sgd(1e-2))]
)
def test_a_gan_whose_clipping_is_forgotten_is_caught(critic_tx):
    others = PROGRAMS | {"scan", "keys", "generate"}
    with pytest.raises(AssertionError, match=r"check_gan, weight_bounds \(.*has magnitude"):
        check_gan(build(critic_tx=critic_tx), REAL, clip=0.05, skip=others)


def counting_calls():
    """An optimizer that holds its count in Python."""
    seen = []

    def update(updates, state, params=None):
        seen.append(None)
        return jax.tree.map(lambda u: u * len(seen), updates), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)


@pytest.mark.parametrize(
    ("tx", "name"),
    [
        (counting_calls(), "purity"),
        (optax.GradientTransformation(lambda p: {"f": len}, lambda u, s, p=None: (u, s)), "state"),
        (
            optax.GradientTransformation(
                lambda p: jnp.zeros((), jnp.int32), lambda u, s, p=None: (u, s.astype(jnp.float32))
            ),
            "kind",
        ),
        (
            optax.GradientTransformation(
                lambda p: optax.EmptyState(),
                lambda u, s, p=None: (jax.tree.map(lambda x: x / jnp.abs(x).max(), u), s),
            ),
            "finite",
        ),
        (optax.chain(optax.scale_by_rms(), optax.scale(1e-3)), "descent"),
        (optax.sgd(0.0), "descent"),
        (
            optax.multi_transform(
                {"down": optax.sgd(0.1), "up": optax.sgd(-0.1)}, {"w": "down", "b": "up"}
            ),
            "descent",
        ),
    ],
    ids=[
        "counts in Python",
        "holds a function",
        "changes a dtype",
        "divides by zero",
        "goes uphill",
        "stands still",
        "goes uphill in one layer",
    ],
)
def test_a_broken_optimizer_is_caught(tx, name):
    with pytest.raises(AssertionError, match=rf"check_optimizer, {name} \("):
        check_optimizer(tx, {"w": jnp.ones(3), "b": jnp.ones(2)})
