"""The contract of a `Network`."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Collection
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.testing import programs
from wgan_jax.testing.assertions import (
    assert_arrays_only,
    assert_close,
    assert_finite,
    assert_same,
    assert_same_structure,
    error_context,
    is_floating,
    key_data,
    norm,
    run_properties,
)
from wgan_jax.types import Array, Network, PyTree, check_network_type


@dataclasses.dataclass(frozen=True)
class _Case:
    network: Network
    x: PyTree
    scores: bool
    lipschitz: float | None
    seed: int
    rtol: float
    params: PyTree
    stats: PyTree

    def key(self, purpose: int) -> Array:
        return jax.random.fold_in(jax.random.key(self.seed), purpose)

    def apply(self, train: bool) -> tuple[Callable[..., tuple[PyTree, PyTree]], Callable]:
        """`apply` as a function of arrays alone, and its arguments made afresh."""

        def function(params: PyTree, stats: PyTree, x: PyTree, key: Array) -> Any:
            return self.network.apply(params, stats, x, train=train, key=key if train else None)

        return function, lambda: (self.params, self.stats, self.x, self.key(1))

    @functools.cached_property
    def _compiled(self) -> dict[bool, Callable[..., tuple[PyTree, PyTree]]]:
        return {train: jax.jit(self.apply(train)[0]) for train in (True, False)}

    def compiled(self, train: bool) -> tuple[Callable[..., tuple[PyTree, PyTree]], Callable]:
        """The same, compiled once for all properties."""
        return self._compiled[train], self.apply(train)[1]


def check_network(
    network: Network,
    x: PyTree,
    *,
    scores: bool = False,
    lipschitz: float | None = None,
    seed: int = 0,
    rtol: float = 1e-4,
    skip: Collection[str] = (),
) -> None:
    """Raise AssertionError unless `network` keeps the contract of a `Network`.

    Properties, by the names that `skip` takes: `init`, `purity`, `statistics`,
    `output`, `batch_independence`, `gradient`, `jit`, `scan`, `vmap`, `keys`, `export` and, with
    `lipschitz`, `lipschitz`.

    Args:
      network: to be checked.
      x: a batch that it takes, `[batch, ...]` with at least two rows; may be a pytree.
      scores: it is a critic, so its output is `[batch]` or `[batch, 1]`.
      lipschitz: a constant that its slope in inference must not exceed, in units
        of score per unit of x, Euclidean; None asks for none.
      seed: of the keys.
      rtol: room for rounding between programs.
      skip: properties to leave out.

    Raises:
      AssertionError: the first property that fails, with values.
      ValueError: a property to skip that there is not, a batch of one, or a module
        without its adapter.

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
      AssertionError: check_network, batch_independence (an output depends on its own ...
    """
    check_network_type(network=network)
    rows = {leaf.shape[0] for leaf in jax.tree.leaves(x)}
    if len(rows) != 1 or min(rows) < 2:
        raise ValueError(f"check_network needs a batch of at least two, got rows {sorted(rows)}")
    with error_context("check_network, init"):
        params, stats = network.init(jax.random.key(seed), x)
    case = _Case(network, x, scores, lipschitz, seed, rtol, params, stats)
    run_properties("check_network", _PROPERTIES, case, skip)


def _init(case: _Case) -> None:
    """weights and statistics are finite arrays, a function of the key."""
    for name, tree in (("params", case.params), ("stats", case.stats)):
        assert_arrays_only(tree, f"init's {name}")
        assert_finite(tree, f"init's {name}")
    again = case.network.init(jax.random.key(case.seed), case.x)
    assert_same(again, (case.params, case.stats), "init with the same key is not the same")


def _purity(case: _Case) -> None:
    """same input, same output, and the input is left alone."""
    for train in (True, False):
        programs.assert_pure(*case.apply(train), f"apply with train={train}")


def _statistics(case: _Case) -> None:
    """statistics keep their kind in training and their values in inference."""
    for train in (True, False):
        function, arguments = case.compiled(train)
        stats = function(*arguments())[1]
        assert_same_structure(
            stats, case.stats, f"the statistics that apply with train={train} returns"
        )
        assert_finite(stats, f"the statistics that apply with train={train} returns")
        if not train:
            assert_same(stats, case.stats, "apply with train=False changes the statistics")


def _output(case: _Case) -> None:
    """one finite output for each row, the same kind in training and in inference."""
    outputs = []
    for train in (True, False):
        function, arguments = case.compiled(train)
        y = function(*arguments())[0]
        rows = {leaf.shape[:1] for leaf in jax.tree.leaves(y)}
        batch = jax.tree.leaves(case.x)[0].shape[0]
        assert rows == {(batch,)}, f"a batch of {batch} gives outputs led by {sorted(rows)}"
        if case.scores:
            assert y.shape in ((batch,), (batch, 1)), (
                f"a critic returns scores [{batch}] or [{batch}, 1], got {list(y.shape)}"
            )
            assert y.dtype.itemsize >= 4, (
                f"scores are {y.dtype}, whose few digits their differences lose: compute the last "
                f"layer in float32"
            )
        assert_finite(y, f"the output with train={train}")
        outputs.append(y)
    assert_same_structure(outputs[0], outputs[1], "the output in training and in inference")


def _batch_independence(case: _Case) -> None:
    """an output depends on its own row only; in training, statistics of the batch may enter."""
    function, arguments = case.compiled(False)
    params, stats, x, key = arguments()
    full = function(params, stats, x, key)[0]

    def reverse(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[::-1], tree)

    def first(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[:1], tree)

    turned = reverse(function(params, stats, reverse(x), key)[0])
    assert_close(turned, full, case.rtol, "a batch in reverse order gives other outputs")
    alone = function(params, stats, first(x), key)[0]
    assert_close(alone, first(full), case.rtol, "a row alone gives another output")
    _batch_independence_in_training(case)


def _batch_independence_in_training(case: _Case) -> None:
    function, arguments = case.compiled(True)
    params, stats, x, key = arguments()

    def with_other_first_row(leaf: Array) -> Array:
        return leaf.at[0].set(2 * leaf[-1] + 1 if is_floating(leaf) else leaf[-1])

    def rest(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[1:], tree)

    y, new_stats = function(params, stats, x, jax.random.clone(key))
    other_y, other_stats = function(params, stats, jax.tree.map(with_other_first_row, x), key)
    pairs = zip(*map(jax.tree.leaves, (new_stats, other_stats)), strict=True)
    if all(np.array_equal(key_data(a), key_data(b)) for a, b in pairs):
        assert_close(
            rest(other_y),
            rest(y),
            case.rtol,
            "in training another first row changes the outputs of the others, and no running "
            "statistics follow the samples, as those of batch norm do: a mean over the batch, "
            "perhaps, is taken in the network",
        )


def _gradient(case: _Case) -> None:
    """gradients with respect to weights and input are finite."""
    function, arguments = case.apply(True)
    params, stats, x, key = arguments()
    floats = [leaf for leaf in jax.tree.leaves(x) if is_floating(leaf)]

    def total(params: PyTree, moved: list[Array]) -> Array:
        rest = iter(moved)
        placed = jax.tree.map(lambda leaf: next(rest) if is_floating(leaf) else leaf, x)
        y = jax.tree.leaves(function(params, stats, placed, key)[0])
        return sum(leaf.astype(jnp.float32).sum() for leaf in y if is_floating(leaf))

    gradients = jax.jit(jax.grad(total, (0, 1)))(params, floats)
    assert_finite(gradients[0], "the gradient with respect to the weights")
    assert_finite(gradients[1], "the gradient with respect to the input")


def _jit(case: _Case) -> None:
    """compiled and eager agree."""
    for train in (True, False):
        function, arguments = case.apply(train)
        programs.assert_jit_is_eager(function, arguments, case.rtol, f"apply with train={train}")


def _scan(case: _Case) -> None:
    """statistics carried by a scan are those of a loop."""
    function, arguments = case.compiled(True)
    params, stats, x, _ = arguments()
    keys = jax.random.split(case.key(2), 3)

    @jax.jit
    def scanned(stats: PyTree, keys: Array) -> tuple[PyTree, PyTree]:
        def turn(stats: PyTree, key: Array) -> tuple[PyTree, PyTree]:
            return function(params, stats, x, key)[::-1]

        return lax.scan(turn, stats, keys)

    end, outputs = scanned(stats, keys)
    for i in range(3):
        y, stats = function(params, stats, x, jax.random.split(case.key(2), 3)[i])
        turn = jax.tree.map(lambda leaf: leaf[i], outputs)  # noqa: B023
        assert_close(turn, y, case.rtol, f"turn {i} of a scan is not that of a loop")
    assert_close(end, stats, case.rtol, "statistics after a scan are not those of a loop")


def _vmap(case: _Case) -> None:
    """a population under vmap is its members."""
    function, _ = case.compiled(True)

    def alone(key: Array) -> PyTree:
        on_init, on_apply = jax.random.split(key)
        return function(*case.network.init(on_init, case.x), case.x, on_apply)

    together = jax.jit(jax.vmap(alone))(jax.random.split(case.key(3), 2))
    for i in range(2):
        member = jax.tree.map(lambda leaf: leaf[i], together)  # noqa: B023
        on_init, on_apply = jax.random.split(jax.random.split(case.key(3), 2)[i])
        expected = function(*case.network.init(on_init, case.x), case.x, on_apply)
        assert_close(member, expected, case.rtol, f"member {i} under vmap is not its solo run")


def _keys(case: _Case) -> None:
    """no key is used twice, and all are made from the one that is handed in."""

    def init(key: Array) -> PyTree:
        return case.network.init(key, case.x)

    def apply(key: Array) -> PyTree:
        return case.apply(True)[0](case.params, case.stats, case.x, key)

    for function, what in ((init, "init"), (apply, "apply with train=True")):
        programs.assert_keys_are_fresh(function, lambda: (case.key(4),), what)
        programs.assert_keys_follow(function, (case.key(4),), (case.key(5),), what)


def _export(case: _Case) -> None:
    """inference can be exported."""
    function, arguments = case.apply(False)
    programs.assert_exports(function, arguments, case.rtol, "apply with train=False")


def _lipschitz(case: _Case) -> None:
    """no slope is steeper than it is said to be."""
    if case.lipschitz is None:
        return
    params, stats = case.params, case.stats

    def score(x: PyTree) -> Array:
        y = case.network.apply(params, stats, x, train=False)[0]
        return y.reshape(y.shape[0])

    x = np.asarray(case.x)
    y = np.asarray(jax.jit(score)(case.x), np.float64)
    steepest = 0.0
    for shift in range(1, len(x)):
        run = np.array([norm(d) for d in x - np.roll(x, shift, 0)])
        rise = np.abs(y - np.roll(y, shift))
        steepest = max(steepest, (rise[run > 0] / run[run > 0]).max(initial=0.0))
    slopes = jax.jit(jax.grad(lambda x: score(x).sum()))(case.x)
    steepest = max(steepest, *(norm(s) for s in np.asarray(slopes)))
    assert steepest <= case.lipschitz * (1 + case.rtol), (
        f"a slope of {steepest:.6g} exceeds {case.lipschitz:.6g}"
    )


_PROPERTIES = {
    "init": _init,
    "output": _output,
    "statistics": _statistics,
    "purity": _purity,
    "batch_independence": _batch_independence,
    "gradient": _gradient,
    "keys": _keys,
    "jit": _jit,
    "scan": _scan,
    "vmap": _vmap,
    "export": _export,
    "lipschitz": _lipschitz,
}
