"""Broken networks, objectives, penalties and samplers fail the right property."""

import traceback
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from wgan_jax import Network, Wasserstein, toy
from wgan_jax.penalties.base import squared_gradient
from wgan_jax.testing import (
    check_gan,
    check_network,
    check_objective,
    check_optimizer,
    check_penalty,
    check_sampler,
)
from wgan_jax.testing.draws import collect_prng_keys, with_first_row_flipped

REAL = toy.Ring()(jax.random.key(3), 4)


def linear(init=None, apply=None):
    def plain_init(key, x):
        return {"w": jax.random.normal(key, x.shape[1:])}, {"seen": jnp.zeros((), jnp.int32)}

    def plain_apply(params, stats, x, *, train, key=None):
        return x @ params["w"], {"seen": stats["seen"] + 1} if train else stats

    return Network(init or plain_init, apply or plain_apply)


def test_a_critic_steeper_than_it_says_is_caught():
    def init(key, x):
        return {"w": jnp.array([3.0, -4.0])}, {}

    def apply(params, stats, x, *, train, key=None):
        return x @ params["w"], stats

    steep = Network(init, apply)
    quick = ("purity", "jit", "scan", "vmap", "keys", "export", "gradient", "batch_independence")
    check_network(steep, REAL, scores=True, lipschitz=5.0, skip=quick)
    with pytest.raises(AssertionError, match=r"a slope of 5 exceeds 4\.9"):
        check_network(steep, REAL, scores=True, lipschitz=4.9, skip=quick)


class Scores(Wasserstein):
    """Parts given by hand."""

    def __new__(cls, **parts):
        objective = object.__new__(cls)
        for name, part in parts.items():
            object.__setattr__(objective, name, part)
        return objective

    def __init__(self, **parts):
        pass


def half_detached(value):
    return (value + jax.lax.stop_gradient(value)) / 2


@pytest.mark.parametrize(
    ("parts", "name"),
    [
        ({"critic_loss": lambda real, fake: real.mean() - fake.mean()}, "signs"),
        ({"generator_loss": lambda fake: fake.mean()}, "signs"),
        ({"estimate": lambda real, fake: fake.mean() - real.mean()}, "signs"),
        ({"critic_loss": lambda real, fake: fake.mean()}, "signs"),
        ({"estimate": lambda real, fake: 0 * real.mean()}, "signs"),
        (
            {"critic_loss": lambda real, fake: half_detached(fake.mean() - real.mean())},
            "derivative",
        ),
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


def gradient_penalty(coefficients, average=lambda squares: (jnp.sqrt(squares + 1e-12) - 1) ** 2):
    """A gradient penalty at points given by coefficients of (key, x)."""

    def penalty(critic, real, fake, key):
        def mix(x, y):
            t = coefficients(key, x)
            return t * x + (1 - t) * y if x.dtype == jnp.float32 else x

        return average(squared_gradient(critic, jax.tree.map(mix, real, fake))).mean()

    return penalty


def per_sample(key, x):
    return jax.random.uniform(key, (len(x), 1))


def per_batch(critic, real, fake, key):
    """One number for the whole batch, as it were one sample."""
    t = jax.random.uniform(key)
    slopes = jax.grad(lambda x: critic(x).sum())(t * real + (1 - t) * fake)
    return jnp.square(slopes).sum()


def not_trained(critic, real, fake, key):
    """Slopes that are told, and that no weight hears of."""
    slopes = jax.lax.stop_gradient(jax.grad(lambda x: critic(x).sum())(real))
    return jnp.square(slopes).sum(1).mean()


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
        (not_trained, "steepness"),
        (gradient_penalty(lambda key, x: jax.random.uniform(key)), "points"),
        (gradient_penalty(lambda key, x: jax.random.normal(key, (len(x), 1))), "points"),
        (gradient_penalty(lambda key, x: jax.random.uniform(key, x.shape)), "points"),
        (gradient_penalty(lambda key, x: per_sample(jax.random.key(0), x)), "keys"),
        (gradient_penalty(per_sample, lambda s: (jnp.sqrt(s.mean() + 1e-12) - 1) ** 2), "mean"),
    ],
    ids=[
        *("sum", "negative", "falling", "naive root", "moves labels", "no gradient"),
        *("one coefficient", "normal", "per value", "key of its own", "mean in the root"),
    ],
)
def test_a_broken_penalty_is_caught(penalty, name):
    with pytest.raises(AssertionError, match=rf"check_penalty, {name} \("):
        check_penalty(penalty)


@pytest.mark.parametrize(
    ("sampler", "name"),
    [
        (lambda key, n: jnp.zeros((n, 2)), "key"),
        (lambda key, n: jnp.broadcast_to(jax.random.normal(key, (1, 2)), (n, 2)), "key"),
        (lambda key, n: jax.random.normal(key, (4, 2)), "batch"),
        (lambda key, n: jax.random.normal(key, (5, 2)), "batch"),  # the n of the check
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
    ids=[
        "constant",
        "one draw for all",
        "another size",
        "its own size",
        "not finite",
        "numpy",
        "one key twice",
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_broken_sampler_is_caught(sampler, name):
    with (
        jax.debug_key_reuse(False),
        pytest.raises(AssertionError, match=rf"check_sampler, {name} \("),
    ):
        check_sampler(sampler)


def test_a_failure_names_the_fault_and_shows_no_code_of_the_checks():
    def centered(params, stats, x, *, train, key=None):
        return x @ params["w"] - (x @ params["w"]).mean(), stats

    with pytest.raises(AssertionError) as info:
        check_network(linear(apply=centered), REAL, scores=True)
    shown = str(info.getrepr(style="long", tbfilter=True))
    assert "a mean over the batch?" in shown
    assert all(Path(str(e.path)) == Path(__file__) for e in info.traceback.filter(info))
    assert info.value.__cause__ is None
    assert info.value.__suppress_context__


@pytest.mark.parametrize("fail", [lambda: chex.assert_rank(jnp.ones(2), 2), lambda: {}["scale"]])
def test_a_failure_in_the_part_itself_leads_there(fail):
    def apply(params, stats, x, *, train, key=None):
        fail()

    with pytest.raises(AssertionError, match="check_network, purity") as info:
        check_network(linear(apply=apply), REAL, scores=True)
    frames = traceback.extract_tb(info.value.__cause__.__traceback__)
    assert any(frame.filename == __file__ and frame.name == "apply" for frame in frames)


def test_rows_that_are_alike_hide_no_statistics_of_the_batch():
    """A batch of ones is its own mean, and so is a row of it."""

    def whitened(params, stats, x, *, train, key=None):
        mean = x.mean(0, keepdims=True)
        return (x - mean) @ params["w"], {"mean": mean} if train else stats

    def init(key, x):
        return {"w": jax.random.normal(key, x.shape[1:])}, {"mean": jnp.zeros((1, *x.shape[1:]))}

    with pytest.raises(AssertionError, match=r"batch_independence.*changing the first row"):
        check_network(Network(init, whitened), jnp.ones((4, 2)), scores=True)


@pytest.mark.parametrize("x", [np.arange(8.0).reshape(4, 2), np.zeros((4, 2), np.float32)])
def test_a_batch_may_be_of_numpy(x):
    slow = ("jit", "scan", "vmap", "export")
    check_network(linear(), x, scores=True, skip=slow)


@pytest.mark.parametrize(
    ("check", "message"),
    [
        (lambda: check_network(linear(), [[1.0, 2.0], [3.0, 4.0]]), r"leaf \[0\]\[0\] is a float"),
        (lambda: check_network(linear(), (8, 2)), r"leaf \[0\] is an int"),
        (lambda: check_network(linear(), np.array([["a"], ["b"]])), "make an array of numbers"),
        (lambda: check_network(linear(), jnp.float32(1)), "leading axis"),
        (lambda: check_network(linear(), REAL[:1]), "at least 2 rows, got 1"),
        (lambda: check_network(linear(), REAL.at[1, 0].set(jnp.nan)), "not finite"),
        (lambda: check_gan(lambda state, real: state, REAL), "the GAN needs init, critic_step"),
        (lambda: check_objective(Wasserstein), r"is the class Wasserstein: make an instance"),
        (lambda: check_objective(jnp.mean), "the objective needs critic_loss"),
        (lambda: check_sampler(REAL), r"a function \(key, n\) -> x\[n, ...\], got an ArrayImpl"),
        (lambda: check_sampler(toy.Ring), r"class Ring: make an instance"),
        (lambda: check_penalty(10.0), "the penalty must be a function"),
        (lambda: check_optimizer(optax.adam, {"w": REAL}), "the optimizer needs init, update"),
    ],
)
def test_what_is_given_is_looked_at_before_the_part_is_blamed(check, message):
    with pytest.raises(ValueError, match=message):
        check()


def test_one_property_to_skip_may_be_given_by_its_name():
    with pytest.raises(AssertionError, match="check_sampler, keys"):
        check_sampler(again, skip="key")


def again(key, n):
    with jax.debug_key_reuse(False):
        return jax.random.normal(jax.random.clone(key), (n, 2)) + jax.random.normal(key, (n, 2))


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

    assert len(np.unique(collect_prng_keys(walk, jax.random.key(0)), axis=0)) == 5
    moved = with_first_row_flipped(walk, 3)(jax.random.key(0)) != walk(jax.random.key(0))
    assert moved.any(1).tolist() == [True, False, False]


@pytest.mark.parametrize("reverse", [False, True])
def test_draws_are_seen_in_scans_of_any_inputs_and_outputs(reverse):
    """Constants, carries and slices of one size, which only their place tells apart."""

    def walk(key, start, rows):
        table = jnp.arange(4.0)  # closed over

        def turn(carry, row):
            total, i = carry
            drawn = jax.random.normal(jax.random.fold_in(key, i), (4,))
            return (total + table * drawn, i + 1), (row * drawn, jax.random.fold_in(key, -1 - i))

        return jax.lax.scan(turn, (start, jnp.int32(0)), rows, reverse=reverse)

    rows = jnp.ones((4, 4))
    drawn = collect_prng_keys(walk, jax.random.key(0), jnp.zeros(4), rows)
    expected = [jax.random.fold_in(jax.random.key(0), i) for i in range(4)]
    np.testing.assert_array_equal(
        np.sort(drawn, 0), np.sort([jax.random.key_data(k) for k in expected], 0)
    )

    def products(key):
        return walk(key, jnp.zeros(4), rows)[1][0].T

    flipped = with_first_row_flipped(products, 4)(jax.random.key(0))
    assert (flipped != products(jax.random.key(0))).any(1).tolist() == [True] + [False] * 3


def test_draws_in_branches_and_loops_are_those_that_are_made():
    """One key for both branches is one draw; a loop that folds its turn in repeats none."""

    def walk(key, steps):
        def turn(carry):
            i, total = carry
            return i + 1, total + jax.random.normal(jax.random.fold_in(key, i))

        drawn = jax.lax.cond(
            steps > 0, lambda k: jax.random.normal(k), lambda k: -jax.random.normal(k), key
        )
        return jax.lax.while_loop(lambda c: c[0] < steps, turn, (0, drawn))[1]

    first = [jax.random.key(0), *(jax.random.fold_in(jax.random.key(0), i) for i in range(2))]
    for steps in (0, 1, 9):
        drawn = collect_prng_keys(walk, jax.random.key(0), steps)
        expected = [jax.random.key_data(k) for k in first[: 1 + steps]]
        np.testing.assert_array_equal(np.sort(drawn, 0), np.sort(expected, 0))

    def branch(key):
        return jax.lax.cond(True, lambda k: jax.random.normal(k, (3,)), lambda k: jnp.zeros(3), key)

    moved = with_first_row_flipped(branch, 3)(jax.random.key(0)) != branch(jax.random.key(0))
    assert moved.tolist() == [True, False, False]
