"""The contract of a `Network`."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.testing import network_gradients, network_programs
from wgan_jax.testing.arguments import batch_of
from wgan_jax.testing.assertions import (
    assert_arrays_only,
    assert_close,
    assert_finite,
    assert_same,
    assert_same_structure,
    error_context,
    is_floating,
    key_data,
    run_properties,
)
from wgan_jax.testing.draws import draws
from wgan_jax.testing.network_case import Case, at_zero, first_row, pair_of
from wgan_jax.types import Array, Network, PyTree, check_network_type


def check_network(
    network: Network,
    x: PyTree,
    *,
    scores: bool = False,
    lipschitz: float | None = None,
    compute_dtype: Any = None,
    seed: int = 0,
    rtol: float = 1e-4,
    skip: Collection[str] = (),
) -> None:
    """Raise AssertionError unless `network` satisfies the contract of a `Network`.

    Properties, by the names that `skip` takes:

    - `init`: weights and statistics are finite arrays that depend only on the key and on shapes.
    - `purity`: equal inputs give equal outputs; no changes to the input; no side effects.
    - `output`: one finite output per row, of the same kind in training and in inference.
    - `statistics`: they keep their structure in training and their values in inference.
    - `keys`: all draws derive from the given key, none reuses a key, and inference draws nothing.
    - `batch_independence`: each output depends only on its own row.
    - `gradient`: gradients are finite, also at zero input.
    - `gradient_flow`: gradients reach the input and every weight, and depend on the data;
      labels change the output.
    - `derivative`: gradients with respect to the input and each weight are the slope of the
      output.
    - `jit`: compiled and eager results agree.
    - `scan`: a scan gives the same statistics as a loop.
    - `vmap`: members of a population under vmap equal their solo runs.
    - `export`: inference can be exported.
    - `lipschitz`: with `lipschitz`, no slope exceeds it.
    - `compute_dtype`, `x64`: with `compute_dtype`, nothing is computed at lower precision, and
      32-bit inputs give 32-bit results, also with 64-bit JAX.

    Args:
      network: the network to check.
      x: a batch that it takes, `[batch, ...]` with at least two rows; may be a pytree.
      scores: whether it is a critic, with output `[batch]` or `[batch, 1]`.
      lipschitz: bound on its slope in inference, in units of score per unit of x,
        Euclidean; None checks none.
      compute_dtype: the floating-point type of lowest precision that it may compute in, such
        as `jnp.float32`; None allows mixed precision.
      seed: seed of the keys.
      rtol: tolerance for rounding between programs; larger if it computes in half precision.
      skip: properties to leave out.

    Raises:
      AssertionError: the first property that fails, with values.
      ValueError: an unknown property in `skip`, a batch of one row or with values that are
        not finite, or a module without its adapter.

    Example:
      >>> import jax.numpy as jnp
      >>> from wgan_jax import MLP, Network, from_linen
      >>> check_network(from_linen(MLP(features=(8,))), jnp.ones((4, 2)), scores=True)
      >>> centered = Network(
      ...     init=lambda key, x: ({"w": jnp.ones(x.shape[1:])}, {}),
      ...     apply=lambda params, stats, x, *, train, key=None: (
      ...         x @ params["w"] - (x @ params["w"]).mean(), stats),
      ... )
      >>> check_network(centered, jnp.arange(8.0).reshape(4, 2))
      Traceback (most recent call last):
      AssertionError: check_network, batch_independence (each output depends only on its ...
    """
    __tracebackhide__ = True
    check_network_type(network=network)
    x = batch_of(x, "check_network", rows=2)
    with error_context("check_network, init"):
        made = network.init(jax.random.key(seed), x)
        params, stats = pair_of(made, "init must return a pair (params, stats)")
    case = Case(network, x, scores, lipschitz, compute_dtype, seed, rtol, params, stats)
    run_properties("check_network", _PROPERTIES, case, skip)


_DRAWS = 4  # a batch may be shuffled with its first row in place


def _init(case: Case) -> None:
    """weights and statistics are finite arrays that depend only on the key and on shapes."""
    for name, tree in (("params", case.params), ("stats", case.stats)):
        assert_arrays_only(tree, f"init's {name}")
        assert_finite(tree, f"init's {name}")
    _assert_trainable(case)
    variables = (case.params, case.stats)
    _assert_no_array_twice(variables)

    def init(x: PyTree) -> tuple[PyTree, PyTree]:
        return case.network.init(jax.random.key(case.seed), x)

    cause = "numpy's random numbers, or state kept in Python?"
    assert_same(init(case.x), variables, f"init gives other values for the same key ({cause})")
    zeros = jax.tree.map(jnp.zeros_like, case.x)
    cause = "weights may depend only on the key and on shapes"
    assert_same(init(zeros), variables, f"init depends on the values of x ({cause})")
    cause = "init depends on the batch size (x.shape[0] instead of x.shape[-1]?)"
    assert_same(init(first_row(zeros)), variables, cause)


def _assert_trainable(case: Case) -> None:
    leaves = jax.tree_util.tree_leaves_with_path(case.params)
    assert leaves or not case.scores, (
        "init returns a critic without weights: there is nothing to train (are they constants "
        "inside `apply`?)"
    )
    for path, leaf in leaves:
        assert jnp.issubdtype(leaf.dtype, jnp.inexact), (
            f"init's params{jax.tree_util.keystr(path)} is {leaf.dtype}, which has no gradient: "
            f"counters and tables belong in stats"
        )


def _assert_no_array_twice(tree: PyTree) -> None:
    names: dict[int, str] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        name = f"{('params', 'stats')[path[0].idx]}{jax.tree_util.keystr(path[1:])}"
        first = names.setdefault(id(leaf), name)
        assert first == name, (
            f"init returns the same array as {first} and as {name}: it would be donated twice and "
            f"trained as two weights; copy it, or tie the weights by using one in both places"
        )


def _statistics(case: Case) -> None:
    """statistics keep their structure in training and their values in inference."""
    for train in (True, False):
        function, arguments = case.compiled(train)
        stats = function(*arguments())[1]
        what = f"the statistics returned by apply with train={train}"
        cause = "return all of them, with unchanged shapes and dtypes"
        assert_same_structure(stats, case.stats, f"{what} ({cause})")
        assert_finite(stats, what)
        if not train:
            cause = "are they updated regardless of `train`?"
            assert_same(
                stats, case.stats, f"apply with train=False changes the statistics ({cause})"
            )


def _output(case: Case) -> None:
    """one finite output per row, of the same kind in training and in inference."""
    outputs = []
    batch = jax.tree.leaves(case.x)[0].shape[0]
    for train in (True, False):
        function, arguments = case.compiled(train)
        params, stats, x, key = arguments()
        y = function(params, stats, x, jax.random.clone(key))[0]
        _assert_rows(case, y, batch)
        assert_finite(y, f"the output with train={train}")
        alone = jax.eval_shape(function, params, stats, first_row(x), jax.random.clone(key))[0]
        with error_context("a batch of one (a squeeze() without an axis?)"):
            _assert_rows(case, alone, 1)
        cause = "a norm, a logarithm or a quotient at zero? Put an epsilon inside it"
        zero = function(params, stats, at_zero(x), key)[0]
        assert_finite(zero, f"the output at x = 0 with train={train} ({cause})")
        outputs.append(y)
    what = "the outputs in training and in inference differ"
    assert_same_structure(outputs[0], outputs[1], what)


def _assert_rows(case: Case, y: PyTree, batch: int) -> None:
    """Assert one row per input row, and scores of the right shape and dtype."""
    rows = {leaf.shape[:1] for leaf in jax.tree.leaves(y)}
    assert rows == {(batch,)}, (
        f"a batch of {batch} gives outputs with leading axes {sorted(rows)}: return one output per "
        f"row (a sum or mean over the batch, which belongs in the objective?)"
    )
    assert any(is_floating(leaf) for leaf in jax.tree.leaves(y)), (
        f"the output is {[str(leaf.dtype) for leaf in jax.tree.leaves(y)]}, which has no gradient: "
        f"return floats, without a cast, a comparison or an argmax"
    )
    if case.scores:
        assert hasattr(y, "shape"), (
            f"a critic returns one array of scores, got a {type(y).__name__}"
        )
        assert y.shape in ((batch,), (batch, 1)), (
            f"a critic returns scores [{batch}] or [{batch}, 1], got {list(y.shape)} (several "
            f"features, or a sum of [batch] and [batch, 1]?)"
        )
        assert y.dtype.itemsize >= 4, (
            f"scores are {y.dtype}, too coarse for their differences: compute the last layer in "
            f"float32"
        )


def _batch_independence(case: Case) -> None:
    """each output depends only on its own row; in training, batch statistics may enter."""
    function, arguments = case.compiled(False)
    params, stats, x, key = arguments()
    _assert_any_order_and_size(case, False)
    # If all rows are equal, a row alone has the statistics of the batch.
    full, changed = (
        function(params, stats, batch, jax.random.clone(key))[0]
        for batch in (x, _with_other_first_row(x))
    )
    assert_close(
        _rest(changed),
        _rest(full),
        case.tolerance,
        "changing the first row changes the outputs of the other rows (batch norm with batch "
        "statistics, or a mean over the batch?)",
    )
    _batch_independence_in_training(case)


def _assert_any_order_and_size(case: Case, train: bool) -> None:
    function, arguments = case.compiled(train)
    params, stats, x, key = arguments()

    def outputs(batch: PyTree) -> PyTree:
        return function(params, stats, batch, jax.random.clone(key))[0]

    def reverse(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[::-1], tree)

    full, prefix = outputs(x), "in training, " if train else ""
    assert_close(
        reverse(outputs(reverse(x))),
        full,
        case.tolerance,
        f"{prefix}reversing the batch changes the outputs: they depend on the position in the "
        f"batch (a cumulative sum, a sort, or a reference row?)",
    )
    assert_close(
        outputs(first_row(x)),
        first_row(full),
        case.tolerance,
        f"{prefix}a row alone gives a different output: it depends on the other rows of the batch "
        f"(batch norm with batch statistics, or a mean over the batch?)",
    )


def _with_other_first_row(x: PyTree) -> PyTree:
    def changed(leaf: Array) -> Array:
        return leaf.at[0].set(2 * leaf[-1] + 1 if is_floating(leaf) else leaf[-1])

    return jax.tree.map(changed, x)


def _rest(tree: PyTree) -> PyTree:
    return jax.tree.map(lambda leaf: leaf[1:], tree)


def _batch_independence_in_training(case: Case) -> None:
    function, arguments = case.compiled(True)
    params, stats, x, _ = arguments()
    for draw in range(_DRAWS):
        (y, new_stats), (other_y, other_stats) = (
            function(params, stats, batch, jax.random.fold_in(case.key(7), draw))
            for batch in (x, _with_other_first_row(x))
        )
        pairs = zip(*map(jax.tree.leaves, (new_stats, other_stats)), strict=True)
        if not all(np.array_equal(key_data(a), key_data(b)) for a, b in pairs):
            return
        assert_close(
            _rest(other_y),
            _rest(y),
            case.tolerance,
            "in training, changing the first row changes the outputs of the other rows, and no "
            "running statistics depend on the samples (a mean over the batch in the network, or "
            "batch norm whose statistics are dropped?)",
        )
    if not draws(function, *arguments()):
        _assert_any_order_and_size(case, True)


_PROPERTIES = {
    "init": _init,
    "purity": network_programs.purity,
    "output": _output,
    "statistics": _statistics,
    "keys": network_programs.keys,
    "batch_independence": _batch_independence,
    "gradient": network_gradients.gradient,
    "gradient_flow": network_gradients.gradient_flow,
    "derivative": network_gradients.derivative,
    "jit": network_programs.jit,
    "scan": network_programs.scan,
    "vmap": network_programs.vmap,
    "export": network_programs.export,
    "lipschitz": network_gradients.lipschitz,
    "compute_dtype": network_programs.compute_dtype,
    "x64": network_programs.x64,
}
