"""Networks of Flax NNX and Equinox train as those of Linen do, and keep the contract."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from adapted_networks import (
    CONDITIONAL,
    CRITICS,
    PAIR,
    WIDTH,
    EquinoxGenerator,
    LinenGenerator,
    NNXConditional,
    NNXGenerator,
    X,
)
from flax import linen as nn
from flax import nnx

import wgan_jax
from wgan_jax import (
    MLP,
    Wasserstein,
    clip_weights,
    from_equinox,
    from_linen,
    from_nnx,
    gan,
    to_nnx,
    toy,
)
from wgan_jax.testing import check_gan, check_network

eqx = pytest.importorskip("equinox", reason="equinox comes with the extra 'equinox'")


def as_equinox(params):
    """Parameters of Linen or NNX with the names and axes of Equinox."""

    def weights(layer):
        weight = layer["kernel"].T if "kernel" in layer else layer["scale"]
        return {"weight": weight} | ({"bias": layer["bias"]} if "bias" in layer else {})

    return {name: weights(layer) for name, layer in params.items()}


def trained(generator, critic, weights, steps=3):
    """Trains from these weights; returns the state, the last metrics, and samples."""
    tx = optax.chain(optax.rmsprop(1e-2), clip_weights(0.5))
    model = gan(
        generator,
        critic,
        Wasserstein(),
        generator_tx=tx,
        critic_tx=tx,
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )
    real = toy.Ring()(jax.random.key(1), 16).reshape(2, 8, 2)
    state = model.init(jax.random.key(2), real[0])
    players = {
        name: getattr(state, name)._replace(params=params, opt_state=tx.init(params))
        for name, params in zip(("generator", "critic"), weights, strict=True)
    }
    state = state._replace(**players)
    for _ in range(steps):
        state, metrics = model.train_step(state, real)
    return state, metrics, model.generate(state, jax.random.key(3), 4)


def test_linen_nnx_and_equinox_train_alike_from_the_same_weights():
    generator, critic = from_linen(LinenGenerator()), from_linen(MLP(features=(WIDTH,)))
    g = generator.init(jax.random.key(4), X)[0]
    f = critic.init(jax.random.key(5), X)[0]
    state, metrics, samples = trained(generator, critic, (g, f))

    def critic_in_nnx(rngs):
        hidden = nnx.Linear(2, WIDTH, rngs=rngs)
        return nnx.Sequential(hidden, nnx.relu, nnx.Linear(WIDTH, 1, rngs=rngs))

    f_nnx = {"layers": {"0": f["Dense_0"], "2": f["Dense_1"]}}
    theirs = trained(from_nnx(NNXGenerator, WIDTH), from_nnx(critic_in_nnx), (g, f_nnx))
    close = {"rtol": 1e-5, "atol": 1e-6}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), theirs[1], metrics)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **close),
        (theirs[0].generator.params, theirs[0].generator.stats, theirs[2]),
        (state.generator.params, state.generator.stats["batch_stats"], samples),
    )
    np.testing.assert_allclose(
        theirs[0].critic.params["layers"]["0"]["kernel"],
        state.critic.params["Dense_0"]["kernel"],
        **close,
    )

    # Equinox keeps its running statistics in another way, so only trained weights are compared.
    f_eqx = {"layers": {str(i): as_equinox(f)[f"Dense_{i}"] for i in range(2)}}
    equinox_critic = from_equinox(eqx.nn.MLP, 2, 1, WIDTH, 1)
    with jax.numpy_dtype_promotion("standard"):  # its batch norm raises a float to an integer
        theirs = trained(
            from_equinox(EquinoxGenerator, WIDTH), equinox_critic, (as_equinox(g), f_eqx)
        )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), theirs[1], metrics)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, **close),
        theirs[0].generator.params,
        as_equinox(state.generator.params),
    )


QUICK = ("jit", "vmap", "export", "scan", "purity")


@pytest.mark.parametrize("library", CONDITIONAL)
def test_conditional_networks_keep_the_contract(library):
    check_network(CONDITIONAL[library](), PAIR, skip=QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("library", CONDITIONAL)
def test_conditional_networks_keep_all_of_the_contract(library):
    check_network(CONDITIONAL[library](), PAIR)
    check_network(CRITICS[library](), PAIR, scores=True, skip=QUICK)


def conditional_gan(library):
    return gan(
        CONDITIONAL[library](),
        CRITICS[library](),
        Wasserstein(),
        generator_tx=optax.sgd(1e-2),
        critic_tx=optax.chain(optax.sgd(1e-2), clip_weights(0.1)),
        latent=lambda key, n: (
            jax.random.normal(key, (n, 2)),
            jnp.arange(n, dtype=jnp.int32) % 3,
        ),
    )


@pytest.mark.slow
@pytest.mark.parametrize("library", CONDITIONAL)
def test_conditional_gans_keep_the_contract(library):
    check_gan(conditional_gan(library), PAIR, clip=0.1)


@pytest.mark.parametrize("library", CONDITIONAL)
def test_states_are_plain_dicts_of_arrays_and_a_function_of_the_key(library):
    network = CONDITIONAL[library]()
    params, stats = eager = network.init(jax.random.key(1), PAIR)
    for tree in eager:
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            assert all(isinstance(entry.key, str) for entry in path)
            assert isinstance(leaf, jax.Array)
            assert not leaf.weak_type
    compiled = jax.jit(network.init)(jax.random.key(1), PAIR)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), compiled, eager)
    again = network.init(jax.random.key(1), PAIR)
    jax.tree.map(np.testing.assert_array_equal, again, eager)
    shapes = jax.eval_shape(network.init, jax.random.key(1), PAIR)
    assert jax.tree.map(lambda x: (x.shape, x.dtype), shapes) == jax.tree.map(
        lambda x: (x.shape, x.dtype), eager
    )
    population = jax.vmap(lambda key: network.init(key, PAIR))(jax.random.split(jax.random.key(2)))
    first = jax.tree.leaves(population[0])[0]
    assert not np.array_equal(first[0], first[1])
    names = {"nnx": ({"embedding", "layers", "norm"}, {"norm", "waves"})}
    names["equinox"] = ({"embedding", "layers", "norm", "tied"}, {"arrays", "state"})
    assert (set(params), set(stats)) == names[library]


@pytest.mark.parametrize("library", CONDITIONAL)
def test_running_statistics_move_in_training_only(library):
    network = CONDITIONAL[library]()
    params, stats = network.init(jax.random.key(1), PAIR)
    y, after = network.apply(params, stats, PAIR, train=True, key=jax.random.key(2))
    moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), after, stats)
    assert any(jax.tree.leaves(moved))
    np.testing.assert_array_equal(y[1], PAIR[1])
    assert jax.tree.structure(after) == jax.tree.structure(stats)
    kept = network.apply(params, after, PAIR, train=False)[1]
    jax.tree.map(np.testing.assert_array_equal, kept, after)


class TwoDropouts(nnx.Module):
    """Ones through two dropouts of the same shape, side by side."""

    def __init__(self, *, rngs):
        self.one, self.two = nnx.Dropout(0.5, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x):
        return jnp.stack([self.one(x), self.two(x)], 1)


class LinenTraining(nn.Module):
    @nn.compact
    def __call__(self, x, training=False):
        return nn.Dropout(0.5)(x, deterministic=not training)


class LinenDeterministic(nn.Module):
    @nn.compact
    def __call__(self, x, *, deterministic=True):
        return nn.Dropout(0.5)(x, deterministic=deterministic)


class NNXTraining(nnx.Module):
    def __init__(self, *, rngs):
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x, is_training=False):
        return self.dropout(x, deterministic=not is_training)


USUAL_FLAGS = {
    "training": lambda: from_linen(LinenTraining()),
    "deterministic": lambda: from_linen(LinenDeterministic()),
    "of a layer": lambda: from_linen(nn.Dropout(0.5)),
    "is_training": lambda: from_nnx(NNXTraining),
}


@pytest.mark.parametrize("flag", USUAL_FLAGS)
def test_modules_are_told_by_the_usual_flags_whether_they_train(flag):
    network, x, key = USUAL_FLAGS[flag](), jnp.ones((4, 20)), jax.random.key(0)
    params, stats = network.init(key, x)
    dropped, _ = network.apply(params, stats, x, train=True, key=key)
    assert set(np.unique(dropped)) == {0.0, 2.0}
    kept, _ = network.apply(params, stats, x, train=False)
    np.testing.assert_array_equal(kept, x)


class EquinoxDropout(eqx.Module):
    dropout: eqx.nn.Dropout = eqx.nn.Dropout(0.5)

    def __call__(self, x, *, key=None):
        return self.dropout(x, key=key)


@pytest.mark.parametrize(
    "network",
    [from_nnx(TwoDropouts), from_equinox(EquinoxDropout)],
    ids=["nnx", "equinox"],
)
def test_dropout_follows_its_key_and_needs_one_in_training_only(network):
    x = jnp.ones((6, 20))

    def masks(**options):
        return network.apply({}, {}, x, **options)[0]

    first = masks(train=True, key=jax.random.key(0))
    rows = np.asarray(first).reshape(-1, 20)
    assert len(np.unique(rows, axis=0)) == len(rows)
    assert set(np.unique(rows)) == {0.0, 2.0}
    np.testing.assert_array_equal(masks(train=True, key=jax.random.key(0)), first)
    assert not np.array_equal(masks(train=True, key=jax.random.key(1)), first)
    assert (np.asarray(masks(train=False)) == 1).all()
    with pytest.raises(ValueError, match=r"train=True.*needs a key"):
        masks(train=True)


def test_shared_parameters_are_one_array_with_the_gradient_of_both_uses():
    class Tied(nnx.Module):
        def __init__(self, *, rngs):
            self.one = nnx.Linear(2, 2, use_bias=False, rngs=rngs)
            self.two = self.one

        def __call__(self, x):
            return self.two(self.one(x))

    class EquinoxTied(eqx.Module):
        pair: eqx.nn.Shared

        def __init__(self, *, key):
            one = eqx.nn.Linear(2, 2, use_bias=False, key=key)
            where = lambda p: p[1].weight  # noqa: E731
            self.pair = eqx.nn.Shared((one, one), where=where, get=lambda p: p[0].weight)

        def __call__(self, x):
            one, two = self.pair()
            return two(one(x))

    for network, by_matrix in (
        (from_nnx(Tied), lambda w: X @ w @ w),
        (from_equinox(EquinoxTied), lambda w: X @ w.T @ w.T),
    ):
        params, _ = network.init(jax.random.key(0), X)
        (w,) = jax.tree.leaves(params)
        gradient = jax.grad(lambda p: network.apply(p, {}, X, train=True)[0].sum())(params)  # noqa: B023
        expected = jax.grad(lambda w: by_matrix(w).sum())(w)  # noqa: B023
        np.testing.assert_allclose(jax.tree.leaves(gradient)[0], expected, rtol=1e-5)


def test_trained_weights_go_back_into_a_module():
    network = from_nnx(NNXConditional, 2)
    params, stats = network.init(jax.random.key(3), PAIR)
    stats = jax.tree.map(lambda x: x + 0.5, stats)  # as training moves them
    module = to_nnx(NNXConditional(2, rngs=nnx.Rngs(1)), params, stats)
    assert module.tied is module.layers[0]
    module.eval()
    expected, _ = network.apply(params, stats, PAIR, train=False)
    np.testing.assert_array_equal(module(PAIR)[0], expected[0])


def test_other_libraries_are_imported_when_they_are_asked_for():
    code = (
        "import sys, wgan_jax; assert not {'equinox', 'flax.nnx'} & set(sys.modules);"
        "sys.modules['equinox'] = None\n"
        "try: wgan_jax.from_equinox(dict)\n"
        "except ImportError as error: assert 'pip install equinox' in str(error)\n"
        "else: raise AssertionError"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_the_adapters_are_public():
    assert {"from_linen", "from_nnx", "from_equinox"} <= set(wgan_jax.__all__)
