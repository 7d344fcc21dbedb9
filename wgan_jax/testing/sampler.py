"""The contract of a sampler, of data or latents."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp

from wgan_jax.loop import as_pytree
from wgan_jax.testing import programs
from wgan_jax.testing.arguments import check_function
from wgan_jax.testing.assertions import (
    assert_different,
    assert_finite,
    assert_same,
    assert_same_structure,
    error_context,
    run_properties,
)
from wgan_jax.types import Array, PyTree

_DRAWS = 8  # since n labels, for instance, may be equal by chance


class _Case(NamedTuple):
    sampler: Any
    n: int
    seed: int

    def draw(self) -> tuple[Callable[..., PyTree], Callable[[], tuple]]:
        return lambda key: self.sampler(key, self.n), lambda: (jax.random.key(self.seed),)


def check_sampler(
    sampler: Callable[[Array, int], PyTree],
    *,
    n: int = 5,
    seed: int = 0,
    skip: Collection[str] = (),
) -> None:
    """Raise AssertionError unless `sampler` can feed a run, as data or as latents.

    No check can verify that the n rows are independent draws which together represent the
    distribution at every n; this is assumed. Rows may come in any order, such as the halves of
    a mixture: `estimate_w1` and the evaluation of a run shuffle rows before they split them.
    Pairs of rows that mirror each other are not independent and make margins too narrow.

    Properties, by the names that `skip` takes: `batch` (n finite rows, of the same
    kind for every n), `key` (equal keys give equal samples, different keys different
    ones, and no key the same row n times), `steps` (the batch of a step is a function of
    the step, for samplers with `.at`), `purity`, `jit`, `argument` (it is a pytree of
    arrays, or a plain function, so that compiled programs can take it), `keys`.

    Args:
      sampler: `(key, n) -> x[n, ...]`.
      n: number of samples to draw.
      seed: seed of the key.
      skip: properties to leave out.

    Raises:
      AssertionError: the first property that fails, with values.
      ValueError: an unknown property in `skip`, or an object that cannot be called.

    Example:
      >>> import jax, numpy as np
      >>> from wgan_jax import toy
      >>> check_sampler(toy.Ring())
      >>> check_sampler(lambda key, n: jax.numpy.asarray(np.random.rand(n, 2)))
      Traceback (most recent call last):
      AssertionError: check_sampler, key (...): the same key gives different samples...
    """
    __tracebackhide__ = True
    check_function(sampler, "sampler", "(key, n) -> x[n, ...]")
    run_properties("check_sampler", _PROPERTIES, _Case(sampler, n, seed), skip)


def _batch(case: _Case) -> None:
    """n rows of finite numbers, of the same kind for every n."""
    x, single = (case.sampler(jax.random.key(case.seed), n) for n in (case.n, 1))
    for n, samples in ((case.n, x), (1, single)):
        rows = {jnp.shape(leaf)[:1] for leaf in jax.tree.leaves(samples)}
        assert rows == {(n,)}, f"asked for {n} samples, got leading axes {sorted(rows)}"
    assert_finite(x, "samples")

    def first(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[0], tree)

    assert_same_structure(first(single), first(x), f"samples for n=1 differ from n={case.n}")


def _key(case: _Case) -> None:
    """equal keys give equal samples, different keys different samples."""
    draw, arguments = case.draw()
    x = draw(*arguments())
    assert_same(draw(*arguments()), x, "the same key gives different samples")
    other = draw(jax.random.key(case.seed + 1))
    assert_different(other, x, "different keys give the same samples")
    others = (draw(jax.random.key(case.seed + i)) for i in range(1, _DRAWS))
    assert case.n == 1 or not all(map(_all_rows_are_equal, itertools.chain([x], others))), (
        f"all {case.n} samples of a key are equal: one draw [1, ...], broadcast to all?"
    )


def _all_rows_are_equal(x: PyTree) -> bool:
    return all(bool((leaf == leaf[:1]).all()) for leaf in jax.tree.leaves(x))


def _steps(case: _Case) -> None:
    """the batch of a step is a pure function of the step."""
    if not hasattr(case.sampler, "at"):
        return

    def at(key: Array, step: Array) -> PyTree:
        return case.sampler.at(key, step, case.n)

    key, steps = jax.random.key(case.seed), jnp.arange(3, dtype=jnp.int32)
    batches = jax.jit(jax.vmap(at, (None, 0)))(key, steps)
    for i in range(3):
        batch = jax.tree.map(lambda leaf: leaf[i], batches)  # noqa: B023
        assert_same(jax.jit(at)(key, steps[i]), batch, f"the batch of step {i} differs under vmap")


def _argument(case: _Case) -> None:
    """compiled programs can take it as an argument."""
    sampler = as_pytree(case.sampler)
    leaves, treedef = jax.tree.flatten(sampler)
    assert all(hasattr(leaf, "dtype") for leaf in leaves), (
        f"a sampler must contain arrays only, got leaves {[type(x).__name__ for x in leaves]}"
    )
    with error_context("a sampler as an argument must be hashable and comparable"):
        hash(treedef)
        chex.assert_trees_all_equal_structs(sampler, as_pytree(case.sampler))


def _purity(case: _Case) -> None:
    """equal keys give equal samples, without side effects."""
    programs.assert_pure(*case.draw(), "drawing")


def _jit(case: _Case) -> None:
    """compiled and eager results agree."""
    programs.assert_jit_is_eager(*case.draw(), 1e-5, "drawing")


def _keys(case: _Case) -> None:
    """no key is used twice, and the given key is used."""
    drawn = programs.assert_keys_are_fresh(*case.draw(), "drawing")
    assert len(drawn), "the sampler draws no random bits"


_PROPERTIES = {
    "batch": _batch,
    "key": _key,
    "steps": _steps,
    "purity": _purity,
    "jit": _jit,
    "argument": _argument,
    "keys": _keys,
}
