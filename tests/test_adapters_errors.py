"""Modules that an adapter cannot take are refused, and a forgotten adapter is named."""

import flax.linen as nn
import jax
import optax
import pytest
from adapted_networks import EquinoxGenerator, NNXGenerator, X
from flax import nnx

from wgan_jax import (
    MLP,
    EvidenceBound,
    Wasserstein,
    from_equinox,
    from_linen,
    from_nnx,
    gan,
    to_nnx,
    vae,
)
from wgan_jax.testing import check_network

eqx = pytest.importorskip("equinox", reason="equinox comes with the extra 'equinox'")

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


class PairLinen(nn.Module):
    @nn.compact
    def __call__(self, x, label, train=True):
        return nn.Dense(1)(x + label)


class PairNNX(nnx.Linear):
    def __call__(self, x, label):
        return super().__call__(x + label)


class PairEquinox(eqx.nn.Linear):
    def __call__(self, x, label, *, key=None):
        return super().__call__(x + label)


@pytest.mark.parametrize(
    "adapt",
    [
        lambda: from_linen(PairLinen()),
        lambda: from_nnx(PairNNX, 2, 1),
        lambda: from_equinox(PairEquinox, 2, 1),
    ],
    ids=["linen", "nnx", "equinox"],
)
def test_a_module_of_two_inputs_is_asked_to_take_one_pair(adapt):
    with pytest.raises(ValueError, match=r"with one input, but .* takes \(self, x, label.*pair"):
        adapt()
