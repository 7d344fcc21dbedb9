"""The checks catch what they are for: each broken part fails by name."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import MLP, Network, Wasserstein, clip_weights, from_linen, gan, toy
from wgan_jax.testing import (
    check_gan,
    check_network,
    check_objective,
    check_optimizer,
    check_penalty,
    check_sampler,
)
from wgan_jax.testing.draws import keys_drawn, with_first_row_flipped

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


# --- GANs, each broken in one function


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


def normalises_over_the_batch(state, key, n):
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
    ("turns", {"critic_step": moves_the_generator}, "critic_step moves the generator"),
    ("turns", {"critic_step": stands_still}, "leaves the weights of the critic"),
    ("counters", {"critic_step": does_not_count}, "0 generator and 0 critic"),
    ("counters", {"critic_step": walks_with_its_key}, "root key"),
    ("metrics", {"critic_step": reports_a_vector}, r"critic/loss.*scalar.*\(1,\)"),
    ("metrics", {"critic_step": forgets_its_estimate}, "critic/estimate"),
    ("finite", {"critic_step": goes_to_nan}, "after critic_step"),
    ("scan", {"train_step": one_batch_for_all}, "not that of a loop"),
    ("scan", {"train_step": forgets_a_critic_step}, "not that of a loop"),
    ("scan", {"train_step": generator_first}, "away in the norm"),
    ("generate", {"generate": ignores_its_key}, "another key are the same"),
    ("generate", {"generate": normalises_over_the_batch}, "neighbour"),
    ("generate", {"generate": returns_integers}, "int32"),
    ("purity", {"critic_step": draws_on_numpy}, "outside its arguments|not the same"),
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
        others = PROGRAMS | {"init", "generate", "turns", "counters", "metrics", "finite", "scan"}
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
    with pytest.raises(AssertionError, match="outside the box"):
        check_optimizer(tx, WEIGHTS, clip=0.01)


@pytest.mark.parametrize(
    "critic_tx", [optax.sgd(1e-2), optax.chain(optax.clip(0.05), optax.sgd(1e-2))]
)
def test_a_gan_whose_clipping_is_forgotten_is_caught(critic_tx):
    others = PROGRAMS | {"scan", "keys", "generate"}
    with pytest.raises(AssertionError, match=r"check_gan, box \(.*outside the box"):
        check_gan(build(critic_tx=critic_tx), REAL, clip=0.05, skip=others)


def counting_calls():
    """An optimiser that holds its count in Python."""
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
    ],
    ids=["counts in Python", "holds a function", "changes a dtype", "divides by zero"],
)
def test_a_broken_optimiser_is_caught(tx, name):
    with pytest.raises(AssertionError, match=rf"check_optimizer, {name} \("):
        check_optimizer(tx, {"w": jnp.ones(3)})


# --- networks


def linear(init=None, apply=None):
    def plain_init(key, x):
        return {"w": jax.random.normal(key, x.shape[1:])}, {"seen": jnp.zeros((), jnp.int32)}

    def plain_apply(params, stats, x, *, train, key=None):
        return x @ params["w"], {"seen": stats["seen"] + 1} if train else stats

    return Network(init or plain_init, apply or plain_apply)


def mutates_its_statistics(params, stats, x, *, train, key=None):
    stats["last"] = x[0, 0]
    return x @ params["w"], stats


def always_trains(params, stats, x, *, train, key=None):
    return x @ params["w"], {"seen": stats["seen"] + 1}


def counts_in_floats(params, stats, x, *, train, key=None):
    return x @ params["w"], {"seen": stats["seen"].astype(jnp.float32)}


def centres_over_the_batch(params, stats, x, *, train, key=None):
    return x @ params["w"] - (x @ params["w"]).mean(), stats


def returns_one_score(params, stats, x, *, train, key=None):
    return (x @ params["w"]).mean(), stats


def returns_pairs(params, stats, x, *, train, key=None):
    return x @ jnp.stack([params["w"], params["w"]], 1), stats


def has_a_naive_norm(params, stats, x, *, train, key=None):
    return jnp.linalg.norm(x - x, axis=1) + x @ params["w"], stats


def uses_its_key_twice(params, stats, x, *, train, key=None):
    noise = 0.0
    if train:
        k = jax.random.key_data(key)
        noise = sum(jax.random.normal(jax.random.wrap_key_data(k), x.shape[:1]) for _ in range(2))
    return x @ params["w"] + noise, stats


def knows_the_compiler(params, stats, x, *, train, key=None):
    return x @ params["w"] * (2.0 if isinstance(x, jax.core.Tracer) else 1.0), stats


def rolls_its_own(params, stats, x, *, train, key=None):
    noise = np.random.normal(size=x.shape[:1]).astype(np.float32)  # noqa: NPY002
    return x @ params["w"] + noise, stats


def init_outside_the_key(key, x):
    return {"w": jnp.asarray(np.random.normal(size=2).astype(np.float32))}, {}  # noqa: NPY002


def init_of_a_number(key, x):
    return {"w": jnp.ones(2)}, {"rate": 0.1}


@pytest.mark.parametrize(
    ("network", "name", "skip"),
    [
        (linear(init=init_outside_the_key), "init", ()),
        (linear(init=init_of_a_number), "init", ()),
        (linear(apply=returns_one_score), "output", ()),
        (linear(apply=returns_pairs), "output", ()),
        (linear(apply=mutates_its_statistics), "purity", ("output", "statistics")),
        (linear(apply=always_trains), "statistics", ()),
        (linear(apply=counts_in_floats), "statistics", ()),
        (linear(apply=rolls_its_own), "purity", ()),
        (linear(apply=centres_over_the_batch), "neighbours", ()),
        (linear(apply=has_a_naive_norm), "gradient", ()),
        (linear(apply=uses_its_key_twice), "keys", ()),
        (linear(apply=knows_the_compiler), "jit", ("gradient", "keys", "neighbours")),
    ],
    ids=lambda value: value.apply.__name__ if isinstance(value, Network) else str(value),
)
def test_a_broken_network_is_caught(network, name, skip):
    with pytest.raises(AssertionError, match=rf"check_network, {name} \("):
        check_network(network, REAL, scores=True, skip=skip)


def test_a_critic_steeper_than_it_says_is_caught():
    def init(key, x):
        return {"w": jnp.array([3.0, -4.0])}, {}

    def apply(params, stats, x, *, train, key=None):
        return x @ params["w"], stats

    steep = Network(init, apply)
    quick = ("purity", "jit", "scan", "vmap", "keys", "export", "gradient", "neighbours")
    check_network(steep, REAL, scores=True, lipschitz=5.0, skip=quick)
    with pytest.raises(AssertionError, match=r"a slope of 5 exceeds 4\.9"):
        check_network(steep, REAL, scores=True, lipschitz=4.9, skip=quick)


# --- objectives, penalties, samplers


class Scores(Wasserstein):
    """Parts given by hand."""

    def __new__(cls, **parts):
        objective = object.__new__(cls)
        for name, part in parts.items():
            object.__setattr__(objective, name, part)
        return objective

    def __init__(self, **parts):
        pass


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"critic_loss": lambda real, fake: real.mean() - fake.mean()}, "signs"),
        ({"generator_loss": lambda fake: fake.mean()}, "signs"),
        ({"estimate": lambda real, fake: fake.mean() - real.mean()}, "signs"),
        ({"critic_loss": lambda real, fake: fake.sum() - real.sum()}, "mean"),
        ({"critic_loss": lambda real, fake: fake[0] - real[0]}, "mean"),
        ({"critic_loss": lambda real, fake: fake - real}, "scalars"),
        ({"generator_loss": lambda fake: (-fake).mean().astype(jnp.float16)}, "scalars"),
        ({"generator_loss": lambda fake: jnp.log(1 - jax.nn.sigmoid(fake)).mean()}, "finite"),
        ({"critic_loss": lambda real, fake: 2 * fake.mean() - real.mean()}, "kantorovich"),
        ({"estimate": lambda real, fake: 2 * (real.mean() - fake.mean())}, "kantorovich"),
    ],
)
def test_a_broken_objective_is_caught(parts, name):
    check = pytest.raises(AssertionError, match=rf"check_objective, {name} \(")
    with check:
        check_objective(Scores(**parts), wasserstein=True)


def per_batch(critic, real, fake, key):
    """One number for the whole batch, as it were one sample."""
    t = jax.random.uniform(key)
    slopes = jax.grad(lambda x: critic(x).sum())(t * real + (1 - t) * fake)
    return jnp.square(slopes).sum()


@pytest.mark.parametrize(
    ("penalty", "name"),
    [
        (per_batch, "mean"),
        (lambda critic, real, fake, key: -jnp.square(critic(real)).mean(), "scalar"),
        (lambda critic, real, fake, key: 1 / (1 + jnp.square(critic(real)).mean()), "steepness"),
        (lambda critic, real, fake, key: jnp.sqrt(jnp.square(critic(real)).mean()), "zero"),
        (
            lambda critic, real, fake, key: jnp.square(
                critic(
                    jax.tree.map(
                        lambda x: x.astype(jnp.float32) + jax.random.uniform(key, x.shape), real
                    )
                )
            ).mean(),
            "labels",
        ),
    ],
    ids=["sum", "negative", "falling", "naive root", "moves labels"],
)
def test_a_broken_penalty_is_caught(penalty, name):
    with pytest.raises(AssertionError, match=rf"check_penalty, {name} \("):
        check_penalty(penalty)


@pytest.mark.parametrize(
    ("sampler", "name"),
    [
        (lambda key, n: jnp.zeros((n, 2)), "key"),
        (lambda key, n: jax.random.normal(key, (4, 2)), "batch"),
        (lambda key, n: jnp.log(jax.random.normal(key, (n, 2))), "batch"),
        (
            lambda key, n: jnp.asarray(np.random.normal(size=(n, 2)).astype(np.float32)),  # noqa: NPY002
            "key",
        ),
        (
            lambda key, n: sum(
                jax.random.normal(jax.random.wrap_key_data(jax.random.key_data(k)), (n, 2))
                for k in [jax.random.clone(key)] * 2
            ),
            "keys",
        ),
    ],
    ids=["constant", "another size", "not finite", "numpy", "one key twice"],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_broken_sampler_is_caught(sampler, name):
    with (
        jax.debug_key_reuse(False),
        pytest.raises(AssertionError, match=rf"check_sampler, {name} \("),
    ):
        check_sampler(sampler)


def test_an_unknown_property_is_named():
    with pytest.raises(ValueError, match=r"\['gradients'\].*'gradient'"):
        check_network(linear(), REAL, skip=("gradients",))


def test_draws_are_seen_through_scans_and_inner_calls():
    @jax.jit
    def noise(key):
        return jax.random.normal(key, (3, 2))

    def walk(key):
        def turn(total, i):
            return total + jax.checkpoint(noise)(jax.random.fold_in(key, i)), None

        return jax.lax.scan(turn, noise(jax.random.fold_in(key, 9)), jnp.arange(4))[0]

    assert len(np.unique(keys_drawn(walk, jax.random.key(0)), axis=0)) == 5
    moved = with_first_row_flipped(walk, 3)(jax.random.key(0)) != walk(jax.random.key(0))
    assert moved.any(1).tolist() == [True, False, False]
