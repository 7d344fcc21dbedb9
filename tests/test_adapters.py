"""Networks of Flax NNX and Equinox train as those of Linen do, and keep the contract."""

import subprocess
import sys

import flax.linen as linen
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import wgan_jax
from wgan_jax import (
    MLP,
    EvidenceBound,
    Wasserstein,
    clip_weights,
    from_equinox,
    from_linen,
    from_nnx,
    gan,
    to_nnx,
    toy,
    vae,
)
from wgan_jax.testing import check_gan, check_network

eqx = pytest.importorskip("equinox", reason="equinox comes with the extra 'equinox'")

X = jax.random.normal(jax.random.key(0), (4, 2))
PAIR = (X, jnp.arange(4, dtype=jnp.int32) % 3)
WIDTH = 5


class LinenGenerator(linen.Module):
    @linen.compact
    def __call__(self, z, train: bool):
        z = linen.Dense(WIDTH, use_bias=False, name="first")(z)
        z = linen.relu(linen.BatchNorm(use_running_average=not train, name="norm")(z))
        return linen.Dense(2, name="last")(z)


class NNXGenerator(nnx.Module):
    def __init__(self, width, *, rngs):
        self.first = nnx.Linear(2, width, use_bias=False, rngs=rngs)
        self.norm = nnx.BatchNorm(width, rngs=rngs)
        self.last = nnx.Linear(width, 2, rngs=rngs)

    def __call__(self, z):
        return self.last(nnx.relu(self.norm(self.first(z))))


class EquinoxGenerator(eqx.Module):
    first: eqx.nn.Linear
    norm: eqx.nn.BatchNorm
    last: eqx.nn.Linear

    def __init__(self, width, *, key):
        keys = jax.random.split(key)
        self.first = eqx.nn.Linear(2, width, use_bias=False, key=keys[0])
        self.norm = eqx.nn.BatchNorm(width, "batch", mode="batch")
        self.last = eqx.nn.Linear(width, 2, key=keys[1])

    def __call__(self, z, state):
        z, state = self.norm(self.first(z), state)
        return self.last(jax.nn.relu(z)), state


def as_equinox(params):
    """Linen's or NNX's names and orders as Equinox has them."""

    def weights(layer):
        weight = layer["kernel"].T if "kernel" in layer else layer["scale"]
        return {"weight": weight} | ({"bias": layer["bias"]} if "bias" in layer else {})

    return {name: weights(layer) for name, layer in params.items()}


def trained(generator, critic, weights, steps=3):
    """A few iterations from these weights; the state, and the metrics of the last."""
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

    # The running statistics of Equinox are kept in another way: of it, what is trained is compared.
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


class NNXConditional(nnx.Module):
    """Labels, batch norm, two dropouts, a tied layer, a list, and a plain array."""

    def __init__(self, width, *, rngs):
        self.embedding = nnx.Embed(3, 2, rngs=rngs)
        self.layers = nnx.List([nnx.Linear(2, 2, rngs=rngs) for _ in range(2)])
        self.norm = nnx.BatchNorm(2, rngs=rngs)
        self.dropouts = nnx.List([nnx.Dropout(0.5, rngs=rngs) for _ in range(2)])
        self.waves = jax.random.normal(rngs.params(), (1, 2))
        self.tied = self.layers[0]

    def __call__(self, pair):
        z, label = pair
        z = self.norm(z + self.embedding(label)) + self.waves
        for layer, dropout in zip(self.layers, self.dropouts, strict=True):
            z = dropout(nnx.relu(layer(z)))
        return self.tied(z), label


class EquinoxConditional(eqx.Module):
    """Labels, batch norm, dropout, a tied layer, a list, and a permutation of integers."""

    embedding: eqx.nn.Embedding
    layers: list
    norm: eqx.nn.BatchNorm
    dropout: eqx.nn.Dropout
    tied: eqx.nn.Shared
    order: jax.Array

    def __init__(self, width, *, key):
        keys = jax.random.split(key, 5)
        self.embedding = eqx.nn.Embedding(3, 2, key=keys[0])
        self.layers = [eqx.nn.Linear(2, 2, key=keys[1])]
        self.norm = eqx.nn.BatchNorm(2, "batch", mode="ema")
        self.dropout = eqx.nn.Dropout(0.5)
        pair = (eqx.nn.Linear(2, 2, key=keys[2]), eqx.nn.Linear(2, 2, key=keys[3]))
        self.tied = eqx.nn.Shared(pair, where=lambda p: p[1].weight, get=lambda p: p[0].weight)
        self.order = jax.random.permutation(keys[4], 2)

    def __call__(self, pair, state, *, key):
        z, label = pair
        z, state = self.norm(z + self.embedding(label), state)
        one, two = self.tied()
        z = self.dropout(jax.nn.relu(self.layers[0](z)), key=key)
        return two(one(z))[self.order], label, state


class EquinoxPair(EquinoxConditional):
    def __call__(self, pair, state, *, key):
        *y, state = super().__call__(pair, state, key=key)
        return tuple(y), state


CONDITIONAL = {
    "nnx": lambda: from_nnx(NNXConditional, 2),
    "equinox": lambda: from_equinox(EquinoxPair, 2),
}
CRITICS = {
    "nnx": lambda: from_nnx(lambda rngs: NNXCritic(rngs)),
    "equinox": lambda: from_equinox(EquinoxCritic),
}


class NNXCritic(nnx.Module):
    def __init__(self, rngs):
        self.linear = nnx.Linear(5, 1, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, pair):
        x, label = pair
        x = jnp.concatenate([x, jax.nn.one_hot(label, 3)], -1)
        return self.linear(self.dropout(x))


class EquinoxCritic(eqx.Module):
    linear: eqx.nn.Linear
    dropout: eqx.nn.Dropout

    def __init__(self, key):
        self.linear = eqx.nn.Linear(5, "scalar", key=key)
        self.dropout = eqx.nn.Dropout(0.5)

    def __call__(self, pair, key):
        x, label = pair
        return self.linear(self.dropout(jnp.concatenate([x, jax.nn.one_hot(label, 3)]), key=key))


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


OUTSIDE = NNXGenerator(3, rngs=nnx.Rngs(0))
OUTSIDE_RNGS = nnx.Rngs(0)
OUTSIDE_EQUINOX = eqx.nn.Linear(2, 2, key=jax.random.key(0))


class Wraps(nnx.Module):
    def __init__(self, layer):
        self.layer = layer


class WrapsEquinox(eqx.Module):
    layer: eqx.nn.Linear


class TiedByHand(eqx.Module):
    one: eqx.nn.Linear
    two: eqx.nn.Linear

    def __init__(self, *, key):
        self.one = self.two = eqx.nn.Linear(2, 2, key=key)


class ForgetsState(EquinoxGenerator):
    def __call__(self, z):
        return z


WEIGHTS = from_nnx(NNXGenerator, 3).init(jax.random.key(0), X)
REFUSED = {
    "nnx: a module": (lambda: from_nnx(OUTSIDE), "got a module, NNXGenerator"),
    "nnx: a module from outside": (lambda: from_nnx(lambda rngs: OUTSIDE), "made outside"),
    "nnx: a layer from outside": (
        lambda: from_nnx(lambda rngs: Wraps(OUTSIDE.first)),
        r"the variable layer\.\w+ was made outside",
    ),
    "nnx: rngs from outside": (
        lambda: from_nnx(lambda rngs: NNXGenerator(3, rngs=OUTSIDE_RNGS)),
        r"nnx\.Rngs .*made outside",
    ),
    "nnx: a seed of its own": (
        lambda: from_nnx(lambda: NNXGenerator(3, rngs=nnx.Rngs(0))),
        "every seed starts alike",
    ),
    "nnx: rngs not passed on": (
        lambda: from_nnx(lambda rngs: NNXGenerator(3, rngs=nnx.Rngs(0))),
        "every seed starts alike",
    ),
    "nnx: arguments missing": (lambda: from_nnx(NNXGenerator), "it takes .self, width"),
    "nnx: random streams among the arguments": (
        lambda: from_nnx(NNXGenerator, 3, OUTSIDE_RNGS),
        r"got from_nnx\(NNXGenerator, 3, Rngs\(\.\.\.\)\), but it takes .*gives rngs$",
    ),
    "nnx: an optimizer of NNX": (
        lambda: gan(
            from_nnx(NNXGenerator, 3),
            from_linen(MLP()),
            Wasserstein(),
            generator_tx=nnx.Optimizer(OUTSIDE, optax.sgd(0.1), wrt=nnx.Param),
            critic_tx=optax.sgd(0.1),
            latent=lambda key, n: jax.random.normal(key, (n, 2)),
        ),
        r"generator's optimizer needs .* pass its optax transformation, `\.tx`",
    ),
    "nnx: weights of another width": (
        lambda: to_nnx(NNXGenerator(4, rngs=nnx.Rngs(0)), *WEIGHTS),
        r"another module than NNXGenerator.*first\.kernel.*norm\.bias",
    ),
    "nnx: weights without statistics": (
        lambda: to_nnx(NNXGenerator(3, rngs=nnx.Rngs(0)), WEIGHTS[0], {}),
        r"these stats .*norm\.mean",
    ),
    "nnx: a Linen module": (lambda: from_nnx(lambda rngs: MLP()), r"flax\.linen: use from_linen"),
    "nnx: no function": (lambda: from_nnx(3), "got int"),
    "equinox: a module": (lambda: from_equinox(OUTSIDE_EQUINOX), "got a module, Linear"),
    "equinox: a module from outside": (
        lambda: from_equinox(lambda key: OUTSIDE_EQUINOX),
        "made outside",
    ),
    "equinox: a layer from outside": (
        lambda: from_equinox(WrapsEquinox, OUTSIDE_EQUINOX),
        "a layer, Linear, was made outside",
    ),
    "equinox: a seed of its own": (
        lambda: from_equinox(lambda key: eqx.nn.Linear(2, 2, key=jax.random.key(0))),
        "every seed starts alike",
    ),
    "equinox: tied by hand": (lambda: from_equinox(TiedByHand), r"eqx\.nn\.Shared"),
    "equinox: no state": (lambda: from_equinox(ForgetsState, 3), "takes no `state`"),
    "equinox: an NNX module": (
        lambda: from_equinox(lambda key: NNXGenerator(2, rngs=nnx.Rngs(key))),
        r"flax\.nnx: use from_nnx",
    ),
    "equinox: another axis": (
        lambda: jax.eval_shape(
            lambda key: player_of(from_equinox(EquinoxGenerator, 3, axis_name="rows"), key),
            jax.random.key(0),
        ),
        "axis_name",
    ),
    "linen: an NNX module": (lambda: from_linen(OUTSIDE), r"flax\.nnx: use from_nnx"),
    "linen: an Equinox class": (lambda: from_linen(eqx.nn.MLP), "equinox: use from_equinox"),
}


def player_of(network, key):
    return network.apply(*network.init(key, X), X, train=True)


@pytest.mark.parametrize("case", REFUSED)
def test_what_an_adapter_cannot_take_is_refused(case):
    call, told = REFUSED[case]
    with pytest.raises(ValueError, match=f"(?s){told}"):
        call()


def test_trained_weights_go_back_into_a_module():
    network = from_nnx(NNXConditional, 2)
    params, stats = network.init(jax.random.key(3), PAIR)
    stats = jax.tree.map(lambda x: x + 0.5, stats)  # as training moves them
    module = to_nnx(NNXConditional(2, rngs=nnx.Rngs(1)), params, stats)
    assert module.tied is module.layers[0]
    module.eval()
    expected, _ = network.apply(params, stats, PAIR, train=False)
    np.testing.assert_array_equal(module(PAIR)[0], expected[0])


def test_variables_that_appear_in_a_call_are_refused():
    class Caches(NNXGenerator):
        def __call__(self, z):
            self.seen = nnx.Variable(z)
            return super().__call__(z)

    network = from_nnx(Caches, 3)
    with pytest.raises(ValueError, match=r"\['seen'\].*__init__"):
        player_of(network, jax.random.key(0))


FORGOTTEN = {
    "linen": (MLP(features=(3,)), r"flax\.linen, MLP; adapt it with from_linen"),
    "nnx": (OUTSIDE, r"flax\.nnx, NNXGenerator; adapt it with from_nnx"),
    "class": (NNXGenerator, r"flax\.nnx, NNXGenerator; adapt it with from_nnx"),
    "equinox": (OUTSIDE_EQUINOX, "equinox, Linear; adapt it with from_equinox"),
    "function": (lambda x: x, "not a Network"),
}


@pytest.mark.parametrize("case", FORGOTTEN)
def test_a_forgotten_adapter_is_named(case):
    module, told = FORGOTTEN[case]
    good = from_linen(MLP(features=(3,)))
    settings = {"generator_tx": optax.sgd(0.1), "critic_tx": optax.sgd(0.1), "latent": None}
    with pytest.raises(ValueError, match=f"generator.*{told}"):
        gan(module, good, Wasserstein(), **settings)
    with pytest.raises(ValueError, match=f"critic.*{told}"):
        gan(good, module, Wasserstein(), **settings)
    with pytest.raises(ValueError, match=f"encoder.*{told}"):
        vae(good, module, EvidenceBound(), **settings)
    with pytest.raises(ValueError, match=told):
        check_network(module, X)


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
