"""Networks that misuse their keys, their state or their weights."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from broken_networks import Fault, critic, dropout, init, scores, with_apply, with_init

from wgan_jax import Network, from_linen

# Faults of randomness.


def again(key):
    """A copy of the key that JAX's own checker does not recognize."""
    return jax.random.wrap_key_data(jax.random.key_data(key))


class AlwaysDrops(nn.Module):
    """A critic whose dropout ignores the mode."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(1)(nn.Dropout(0.5, deterministic=False)(x))


def drops_in_two_layers_alike(params, x, train, key):
    return scores(params, dropout(dropout(x, again(key)), again(key)) if train else x)


def drops_in_a_branch_with_its_own_key(params, x, train, key):
    def noisy(x):
        return dropout(x, jax.random.key(7))

    return scores(params, jax.lax.cond(x.sum() > -1e9, noisy, lambda x: x, x) if train else x)


def drops_in_a_loop_with_one_key(params, x, train, key):
    def turn(carry):
        i, x = carry
        return i + 1, dropout(x, again(key))

    steps = 3 + (x.sum() > 1e9).astype(jnp.int32)  # known only when it runs
    return scores(
        params,
        jax.lax.while_loop(lambda c: c[0] < steps, turn, (jnp.int32(0), x))[1] if train else x,
    )


def draws_from_its_input(params, x, train, key):
    own = jax.random.fold_in(jax.random.key(0), x.sum().astype(jnp.int32))
    return scores(params, dropout(x, own) if train else x)


def drops_by_a_key_of_its_own_if_none_is_given(params, x, train, key):
    if not train:
        return scores(params, x)
    return scores(params, dropout(x, jax.random.key(0) if key is None else key))


# Faults of state.


def writes_into_its_statistics(params, stats, x, *, train, key=None):
    stats["seen"] = stats["seen"] + int(train)
    return scores(params, x), stats


def writes_into_its_weights(params, x, train, key):
    params["w"] = params["w"] / 2
    return scores(params, x)


def pops_its_statistics(params, stats, x, *, train, key=None):
    return scores(params, x), {"seen": stats.pop("seen")}


def counting():
    calls = itertools.count(1)
    return critic(lambda params, x, train, key: next(calls) * scores(params, x))


def remembering():
    seen = []

    def apply(params, x, train, key):
        seen.append(x)
        return scores(params, (seen[-2:] + seen[-1:])[0])

    return critic(apply)


# Faults of weights.


def one_array_twice(key, x):
    w = jax.random.normal(key, x.shape[1:])
    return {"w": w, "v": w}, {}


def depends_on_the_data(key, x):
    return {"w": jax.random.normal(key, x.shape[1:]) / (1 + x.std())}, {}


def outside_the_key(key, x):
    return {"w": jnp.asarray(np.random.normal(size=2).astype(np.float32))}, {}  # noqa: NPY002


FAULTS_OF_STATE = [
    # Randomness.
    Fault(
        "noise from a key that is written into it",
        "keys",
        "draws with a key of its own",
        critic(
            lambda params, x, train, key: scores(
                params, dropout(x, jax.random.key(7)) if train else x
            )
        ),
    ),
    Fault(
        "noise from a key that is made of its input",
        "keys",
        "draws with a key of its own",
        critic(draws_from_its_input),
    ),
    Fault(
        "one key for two layers of dropout",
        "keys",
        "uses a key more than once (split it",
        critic(drops_in_two_layers_alike),
    ),
    Fault(
        "noise from a key of its own in a branch of `lax.cond`",
        "keys",
        "draws with a key of its own",
        critic(drops_in_a_branch_with_its_own_key),
    ),
    Fault(
        "one key for all turns of a `while_loop`",
        "keys",
        "uses a key more than once",
        critic(drops_in_a_loop_with_one_key),
    ),
    Fault(
        "dropout in inference",
        "keys",
        "dropout or noise left on in inference",
        critic(
            lambda params, x, train, key: scores(
                params, dropout(x, jax.random.key(7) if key is None else key)
            )
        ),
    ),
    Fault(
        "dropout of Flax with `deterministic=False` written into it",
        "purity",
        "needs a key, but inference must not draw: dropout or noise left on",
        from_linen(AlwaysDrops()),
    ),
    Fault(
        "dropout wherever it is given a key",
        "keys",
        "dropout that checks for a key instead of `train`",
        critic(lambda params, x, train, key: scores(params, x if key is None else dropout(x, key))),
    ),
    Fault(
        "a key of its own where none is given",
        "keys",
        "a default key where key=None",
        critic(drops_by_a_key_of_its_own_if_none_is_given),
    ),
    Fault(
        "asks for a key that it does not need",
        "keys",
        "draws nothing, but needs a key",
        critic(
            lambda params, x, train, key: (
                scores(params, x)
                + (0 * jax.random.key_data(key)[0].astype(jnp.float32) if train else 0)
            )
        ),
    ),
    Fault(
        "weights from a seed of their own",
        "keys",
        "init draws with a key of its own",
        with_init(lambda key, x: init(jax.random.key(7), x)),
    ),
    Fault(
        "noise of numpy",
        "purity",
        "numpy's random numbers",
        critic(
            lambda params, x, train, key: (
                scores(params, x) + np.random.normal(size=4).astype(np.float32)  # noqa: NPY002
            )
        ),
    ),
    # State.
    Fault(
        "writes its new statistics into the old ones",
        "purity",
        "it writes into a dict or an array that it was given",
        with_apply(writes_into_its_statistics),
    ),
    Fault(
        "takes its statistics out of their dict",
        "purity",
        "it writes into a dict or an array that it was given",
        with_apply(pops_its_statistics),
    ),
    Fault(
        "writes into its weights",
        "purity",
        "it writes into a dict or an array that it was given",
        critic(writes_into_its_weights),
    ),
    Fault("a counter in Python", "purity", "state kept in Python", counting()),
    Fault(
        "keeps its input in a list for the next call",
        "purity",
        "stored outside of the function",
        remembering(),
    ),
    Fault(
        "returns no statistics",
        "statistics",
        "return all of them, with unchanged shapes and dtypes",
        with_apply(lambda params, stats, x, *, train, key=None: (scores(params, x), {})),
    ),
    Fault(
        "changes its statistics in inference",
        "statistics",
        "are they updated regardless of `train`",
        with_apply(
            lambda params, stats, x, *, train, key=None: (
                scores(params, x),
                {"seen": stats["seen"] + 1},
            )
        ),
    ),
    Fault(
        "statistics that become bfloat16",
        "statistics",
        "bfloat16",
        with_apply(
            lambda params, stats, x, *, train, key=None: (
                scores(params, x),
                jax.tree.map(lambda s: s.astype(jnp.bfloat16), stats) if train else stats,
            )
        ),
    ),
    # Weights as init makes them.
    Fault(
        "weights of numpy's random numbers",
        "init",
        "init gives other values for the same key",
        with_init(outside_the_key),
    ),
    Fault(
        "weights that depend on the data's values",
        "init",
        "init depends on the values of x",
        with_init(depends_on_the_data),
    ),
    Fault(
        "weights as many as the batch has rows",
        "init",
        "x.shape[0] instead of x.shape[-1]",
        Network(
            lambda key, x: ({"w": jax.random.normal(key, x.shape)}, {}),
            lambda params, stats, x, *, train, key=None: (
                (x * params["w"][: len(x)]).sum(1),
                stats,
            ),
        ),
    ),
    Fault(
        "weights scaled by the size of the batch",
        "init",
        "init depends on the batch size",
        with_init(lambda key, x: ({"w": jax.random.normal(key, (2,)) / len(x)}, {})),
    ),
    Fault(
        "one array as two weights",
        "init",
        "init returns the same array as params['v'] and as params['w']",
        with_init(one_array_twice),
    ),
    Fault(
        "a number of Python among its statistics",
        "init",
        "arrays only",
        with_init(lambda key, x: (init(key, x)[0], {"rate": 0.1})),
    ),
    Fault(
        "integers among its weights",
        "init",
        "counters and tables belong in stats",
        with_init(lambda key, x: ({"w": jnp.ones(2), "n": jnp.zeros((), jnp.int32)}, {})),
    ),
]
