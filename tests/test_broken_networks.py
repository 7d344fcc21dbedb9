"""The faults that `check_network` catches, measured on deliberately broken networks.

`python -m tests.test_broken_networks` prints the table of docs/testing.md.
"""

import itertools
import re
from pathlib import Path
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wgan_jax import Network, from_linen, toy
from wgan_jax.testing import check_network

REAL = toy.Ring()(jax.random.key(3), 4)
DOCS = Path(__file__).parents[1] / "docs" / "testing.md"


class Fault(NamedTuple):
    """A broken network.

    Attributes:
      what: is wrong with it, in words.
      property: that fails; empty where none does.
      says: a part of the message, which names the cause.
      network: with the fault.
      x: a batch for it.
      options: of the check.
    """

    what: str
    property: str
    says: str
    network: Network
    x: Any = REAL
    options: dict[str, Any] = {}  # noqa: RUF012


def init(key, x):
    """Two weights, and a statistic that counts the steps of training."""
    return {"w": jax.random.normal(key, x.shape[1:])}, {"seen": jnp.zeros((), jnp.int32)}


def scores(params, x):
    return jnp.tanh(x) @ params["w"]


def critic(apply):
    """A network whose apply is `apply(params, x, train, key)`; its statistics count steps."""

    def apply_(params, stats, x, *, train, key=None):
        return apply(params, x, train, key), {"seen": stats["seen"] + 1} if train else stats

    return Network(init, apply_)


def with_init(init_, stats=None):
    """A critic that is broken in its init."""

    def apply(params, stats, x, *, train, key=None):
        return scores(params, x), stats

    return Network(init_, apply)


def with_apply(apply):
    """A critic that is broken in how it treats its statistics."""
    return Network(init, apply)


def dropout(x, key):
    return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0.0)


def again(key):
    """The key once more, behind the back of JAX's own checker."""
    return jax.random.wrap_key_data(jax.random.key_data(key))


# Faults of the batch.


def centers_in_training(params, x, train, key):
    y = scores(params, x)
    return y - y.mean() if train else y


def batch_norm(statistics_are_kept, follows_the_mode):
    """Batch norm without a scale; running statistics are a mean."""

    def init_(key, x):
        return {"w": jax.random.normal(key, x.shape[1:])}, {"mean": jnp.zeros(x.shape[1:])}

    def apply(params, stats, x, *, train, key=None):
        mean = x.mean(0) if train or not follows_the_mode else stats["mean"]
        kept = {"mean": 0.9 * stats["mean"] + 0.1 * x.mean(0)}
        return scores(params, x - mean[None]), kept if train and statistics_are_kept else stats

    return Network(init_, apply)


def coupled_beside_batch_norm():
    """A mean over the batch in training, in the shadow of statistics that may be coupled."""

    def apply(params, stats, x, *, train, key=None):
        y, stats = batch_norm(True, True).apply(params, stats, x, train=train)
        return y - y.mean() if train else y, stats

    return Network(batch_norm(True, True).init, apply)


# Faults of randomness.


class AlwaysDrops(nn.Module):
    """A critic whose dropout asks neither for the mode nor for a key."""

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


def one_array_twice(key, x):
    w = jax.random.normal(key, x.shape[1:])
    return {"w": w, "v": w}, {}


def depends_on_the_data(key, x):
    return {"w": jax.random.normal(key, x.shape[1:]) / (1 + x.std())}, {}


def outside_the_key(key, x):
    return {"w": jnp.asarray(np.random.normal(size=2).astype(np.float32))}, {}  # noqa: NPY002


CONSTANT = jnp.array([1.0, -2.0])
WIDE = np.array([0.5, 2.0])  # of float64
IMAGES = jax.random.normal(jax.random.key(5), (2, 6, 4, 4))


def channels_first(params, stats, x, *, train, key=None):
    """A convolution that takes the height of [batch, height, width, channels] for channels."""
    y = jax.lax.conv_general_dilated(x, params["w"], (1, 1), "SAME")
    return y.mean((1, 2, 3)), stats


@jax.custom_vjp
def with_half_its_gradient(x):
    return x


with_half_its_gradient.defvjp(lambda x: (x, None), lambda _, slope: (slope / 2,))


def of_zeros(key, x):
    return {"w": jnp.zeros((x.shape[-1], 8)), "v": jnp.zeros(8), "bias": jnp.zeros(())}, {}


def two_layers(params, stats, x, *, train, key=None):
    return jnp.tanh(x @ params["w"]) @ params["v"] + params["bias"], stats


def drops_by_a_key_of_its_own_if_none_is_given(params, x, train, key):
    if not train:
        return scores(params, x)
    return scores(params, dropout(x, jax.random.key(0) if key is None else key))


FAULTS = [
    # The batch.
    Fault(
        "subtracts the mean of its scores over the batch",
        "batch_independence",
        "it depends on the other rows of the batch (batch norm with batch statistics, or a mean "
        "over the batch?)",
        critic(lambda params, x, train, key: scores(params, x) - scores(params, x).mean()),
    ),
    Fault(
        "the same, in training only",
        "batch_independence",
        "a mean over the batch in the network",
        critic(centers_in_training),
    ),
    Fault(
        "batch norm that takes the statistics of the batch in inference too",
        "batch_independence",
        "batch norm with batch statistics",
        batch_norm(True, False),
    ),
    Fault(
        "batch norm whose new statistics are forgotten",
        "batch_independence",
        "batch norm whose statistics are dropped",
        batch_norm(False, True),
    ),
    Fault(
        "a running sum along the batch",
        "batch_independence",
        "they depend on the position in the batch",
        critic(lambda params, x, train, key: jnp.cumsum(scores(params, x))),
    ),
    Fault(
        "sorts its scores",
        "batch_independence",
        "they depend on the position in the batch",
        critic(lambda params, x, train, key: jnp.sort(scores(params, x))),
    ),
    # The output.
    Fault(
        "sums its scores over the batch",
        "output",
        "a sum or mean over the batch",
        critic(lambda params, x, train, key: scores(params, x).sum()),
    ),
    Fault(
        "two scores for each sample",
        "output",
        "a critic returns scores [4] or [4, 1], got [4, 2]",
        critic(lambda params, x, train, key: jnp.stack([scores(params, x)] * 2, 1)),
    ),
    Fault(
        "adds [batch] to [batch, 1]",
        "output",
        "a sum of [batch] and [batch, 1]",
        critic(lambda params, x, train, key: scores(params, x)[None] + scores(params, x)[:, None]),
    ),
    Fault(
        "a scalar for a batch of one",
        "output",
        "a squeeze() without an axis",
        critic(lambda params, x, train, key: scores(params, x).squeeze()),
    ),
    Fault(
        "returns integers",
        "output",
        "which has no gradient",
        critic(lambda params, x, train, key: scores(params, x).astype(jnp.int32)),
    ),
    Fault(
        "scores in bfloat16",
        "output",
        "compute the last layer in float32",
        critic(lambda params, x, train, key: scores(params, x).astype(jnp.bfloat16)),
    ),
    Fault(
        "another shape in training than in inference",
        "output",
        "the outputs in training and in inference differ",
        critic(lambda p, x, train, key: scores(p, x) if train else scores(p, x)[:, None]),
    ),
    Fault(
        "not a number where the input is zero",
        "output",
        "a quotient at zero",
        critic(
            lambda params, x, train, key: scores(params, x / jnp.sqrt((x**2).sum(1, keepdims=True)))
        ),
    ),
    # Gradients.
    Fault(
        "an infinite gradient where the input is zero",
        "gradient",
        "a root or a quotient at zero",
        critic(lambda params, x, train, key: scores(params, jnp.sqrt(jnp.abs(x)))),
    ),
    Fault(
        "the naive norm of a sample in its score",
        "gradient",
        "a norm, a root or a quotient at zero",
        critic(lambda params, x, train, key: scores(params, x) + jnp.sqrt((x**2).sum(1))),
    ),
    Fault(
        "stop_gradient on its input",
        "gradient_flow",
        "no gradient reaches the input, though the output depends on it: a stop_gradient",
        critic(lambda params, x, train, key: scores(params, jax.lax.stop_gradient(x))),
    ),
    Fault(
        "stop_gradient on its weights",
        "gradient_flow",
        "no gradient reaches params['w'], though the output depends on it: a stop_gradient",
        critic(lambda params, x, train, key: scores(jax.lax.stop_gradient(params), x)),
    ),
    Fault(
        "rounds its input",
        "gradient_flow",
        "rounding or an argmax on the way",
        critic(lambda params, x, train, key: scores(params, jnp.round(4 * x))),
    ),
    Fault(
        "a weight that is never used",
        "gradient_flow",
        "does not depend on params['v']: a layer that is never called",
        with_init(lambda key, x: ({"w": jax.random.normal(key, (2,)), "v": jnp.ones(3)}, {})),
    ),
    Fault(
        "weights written into `apply` as constants",
        "gradient_flow",
        "weights hard-coded in `apply`",
        critic(lambda params, x, train, key: scores({"w": CONSTANT}, x)),
    ),
    Fault(
        "two layers of zeros",
        "gradient_flow",
        "nothing can be learned (kernels that are all 0",
        Network(of_zeros, two_layers),
    ),
    Fault(
        "a custom_vjp with half of the gradient",
        "derivative",
        "a custom_vjp with a wrong factor",
        critic(lambda params, x, train, key: with_half_its_gradient(scores(params, x))),
    ),
    Fault(
        "weights written into `apply`, with no weights at all",
        "init",
        "a critic without weights",
        Network(
            lambda key, x: ({}, {}),
            lambda params, stats, x, *, train, key=None: (scores({"w": CONSTANT}, x), stats),
        ),
    ),
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
    # The program.
    Fault(
        "Python branches on values",
        "purity",
        "Python branches on a value",
        critic(lambda params, x, train, key: scores(params, x if x.sum() > 0 else -x)),
    ),
    Fault(
        "numpy on traced arrays",
        "purity",
        "numpy is called on a traced array",
        critic(lambda params, x, train, key: scores(params, np.tanh(np.asarray(x)))),
    ),
    Fault(
        "prints in training",
        "purity",
        "a print or a callback to the host",
        critic(
            lambda params, x, train, key: (
                jax.debug.callback(lambda _: None, x),
                scores(params, x),
            )[1]
        ),
    ),
    Fault(
        "takes no key",
        "purity",
        "unexpected keyword argument 'key'",
        Network(init, lambda params, stats, x, *, train: (scores(params, x), stats)),
    ),
    Fault(
        "calls the host",
        "export",
        "calls the host (pure_callback)",
        critic(
            lambda params, x, train, key: (
                scores(params, x)
                + (
                    0.0
                    if train
                    else jax.pure_callback(
                        lambda x: np.zeros(len(x), np.float32),
                        jax.ShapeDtypeStruct(x.shape[:1], jnp.float32),
                        x,
                    )
                )
            )
        ),
    ),
    Fault(
        "other numbers compiled than eager",
        "jit",
        "Python that checks whether it is traced",
        critic(
            lambda params, x, train, key: (
                scores(params, x) * (2.0 if isinstance(x, jax.core.Tracer) else 1.0)
            )
        ),
    ),
    Fault(
        "float64 from numpy where JAX has 64 bits, with `compute_dtype=jnp.float32`",
        "x64",
        "a NumPy float64",
        critic(lambda params, x, train, key: scores(params, x * WIDE)),
        options={"compute_dtype": jnp.float32},
    ),
    Fault(
        "steeper than `lipschitz` says",
        "lipschitz",
        "exceeds 0.1",
        critic(lambda params, x, train, key: scores(params, x)),
        options={"lipschitz": 0.1},
    ),
    Fault(
        "bfloat16 inside, with `compute_dtype=jnp.float32`",
        "compute_dtype",
        "a forgotten cast",
        critic(
            lambda params, x, train, key: scores(params, x.astype(jnp.bfloat16).astype(x.dtype))
        ),
        options={"compute_dtype": jnp.float32},
    ),
    # What is not caught.
    Fault(
        "bfloat16 inside, without `compute_dtype`: mixed precision is allowed",
        "",
        "",
        critic(
            lambda params, x, train, key: scores(params, x.astype(jnp.bfloat16).astype(x.dtype))
        ),
    ),
    Fault(
        "a mean over the batch in training, beside a batch norm that may couple its samples",
        "",
        "",
        coupled_beside_batch_norm(),
    ),
    Fault(
        "the height of an image taken for its channels (a generator's is caught by `check_gan`)",
        "",
        "",
        Network(
            lambda key, x: ({"w": jax.random.normal(key, (3, x.shape[1], 2, 2))}, {}),
            channels_first,
        ),
        IMAGES,
    ),
]
CAUGHT = [fault for fault in FAULTS if fault.property]
MISSED = [fault for fault in FAULTS if not fault.property]


@pytest.fixture(autouse=True)
def as_users_have_it():
    """JAX's own checkers off, which seldom run in a user's tests."""
    with (
        jax.debug_key_reuse(False),
        jax.numpy_dtype_promotion("standard"),
        jax.numpy_rank_promotion("allow"),
    ):
        yield


@pytest.mark.parametrize("fault", CAUGHT, ids=lambda fault: fault.what)
@pytest.mark.filterwarnings("ignore:invalid value", "ignore:divide by zero")
def test_a_broken_network_is_caught_with_its_cause(fault):
    with pytest.raises(AssertionError) as failure:
        check_network(fault.network, fault.x, scores=True, **fault.options)
    message = str(failure.value)
    assert message.startswith(f"check_network, {fault.property}"), message
    assert fault.says in message


@pytest.mark.slow  # each passes all properties, which compiles much
@pytest.mark.parametrize("fault", MISSED, ids=lambda fault: fault.what)
def test_what_is_said_not_to_be_caught_is_not(fault):
    check_network(fault.network, fault.x, scores=True, **fault.options)


def test_a_sound_network_like_the_broken_ones_passes():
    sound = critic(lambda p, x, train, key: scores(p, dropout(x, key) if train else x))
    check_network(sound, REAL, scores=True, lipschitz=10.0, compute_dtype=jnp.float32)


def row(fault):
    caught = f"`{fault.property}` | {fault.says}" if fault.property else "not caught |"
    return f"| {fault.what} | {caught} |"


def test_the_documentation_tells_of_these_networks():
    table = DOCS.read_text().partition("<!-- faults -->")[2].partition("<!-- end")[0]
    told = re.findall(r"^\| .*\|$", table, re.MULTILINE)
    assert told[1:] == [row(fault) for fault in FAULTS]  # without its head
    assert len(CAUGHT) >= 40
    assert len({fault.what for fault in FAULTS}) == len(FAULTS)


if __name__ == "__main__":
    print(*map(row, FAULTS), sep="\n")
