"""Networks of Linen, NNX and Equinox that the tests of the adapters share."""

import flax.linen as linen
import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from wgan_jax import from_equinox, from_nnx

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
