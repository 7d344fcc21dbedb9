"""The contract of a sampler: data, and latents."""

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

_DRAWS = 8  # since n labels, for instance, may be the same by chance


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

    What no check can see is assumed: the n rows are independent draws that together
    stand for the distribution at every n. They may be in any order, as the halves of a mixture:
    `estimate_w1` and the evaluation of a run shuffle rows before they take a part of them.
    Pairs of rows that mirror each other are not independent, and make margins too narrow.

    Properties, by the names that `skip` takes: `batch` (n rows, finite, of one
    kind whatever n), `key` (equal keys draw equal samples, other keys others, and
    none the same row n times), `steps` (the batch of a step is a function of the step,
    for samplers with `.at`), `purity`, `jit`, `argument` (it is a pytree of arrays, or a
    plain function, so that a compiled program can take it), `keys`.

    Args:
      sampler: `(key, n) -> x[n, ...]`.
      n: samples to draw.
      seed: of the key.
      skip: properties to leave out.

    Raises:
      AssertionError: the first property that fails, with values.
      ValueError: a property to skip that there is not, or nothing that can be called.

    Example:
      >>> import jax, numpy as np
      >>> from wgan_jax import toy
      >>> check_sampler(toy.Ring())
      >>> check_sampler(lambda key, n: jax.numpy.asarray(np.random.rand(n, 2)))
      Traceback (most recent call last):
      AssertionError: check_sampler, key (...): samples of the same key are not the same...
    """
    __tracebackhide__ = True
    check_function(sampler, "sampler", "(key, n) -> x[n, ...]")
    run_properties("check_sampler", _PROPERTIES, _Case(sampler, n, seed), skip)


def _batch(case: _Case) -> None:
    """n rows of finite numbers, of one kind whatever n."""
    x = case.sampler(jax.random.key(case.seed), case.n)
    rows = {leaf.shape[:1] for leaf in jax.tree.leaves(x)}
    assert rows == {(case.n,)}, f"asked for {case.n} samples, got leaves led by {sorted(rows)}"
    assert_finite(x, "samples")
    one = case.sampler(jax.random.key(case.seed), 1)

    def first(tree: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: leaf[0], tree)

    assert_same_structure(first(one), first(x), f"a sample of 1 beside those of {case.n}")


def _key(case: _Case) -> None:
    """equal keys draw equal samples, other keys other samples."""
    draw, arguments = case.draw()
    x = draw(*arguments())
    assert_same(draw(*arguments()), x, "samples of the same key are not the same")
    other = draw(jax.random.key(case.seed + 1))
    assert_different(other, x, "samples of another key are the same")
    others = (draw(jax.random.key(case.seed + i)) for i in range(1, _DRAWS))
    assert case.n == 1 or not all(map(_all_rows_are_one, itertools.chain([x], others))), (
        f"all {case.n} samples of a key are the same: one draw [1, ...], broadcast to all?"
    )


def _all_rows_are_one(x: PyTree) -> bool:
    return all(bool((leaf == leaf[:1]).all()) for leaf in jax.tree.leaves(x))


def _steps(case: _Case) -> None:
    """the batch of a step is a pure function of the step."""
    if not hasattr(case.sampler, "at"):
        return

    def at(key: Array, step: Array) -> PyTree:
        return case.sampler.at(key, step, case.n)

    key, steps = jax.random.key(case.seed), jnp.arange(3, dtype=jnp.int32)
    together = jax.jit(jax.vmap(at, (None, 0)))(key, steps)
    for i in range(3):
        batch = jax.tree.map(lambda leaf: leaf[i], together)  # noqa: B023
        assert_same(jax.jit(at)(key, steps[i]), batch, f"the batch of step {i} alone")


def _argument(case: _Case) -> None:
    """a compiled program can take it as an argument."""
    sampler = as_pytree(case.sampler)
    leaves, treedef = jax.tree.flatten(sampler)
    assert all(hasattr(leaf, "dtype") for leaf in leaves), (
        f"a sampler holds arrays only, got leaves {[type(x).__name__ for x in leaves]}"
    )
    with error_context("a sampler is hashed and compared when it is an argument"):
        hash(treedef)
        chex.assert_trees_all_equal_structs(sampler, as_pytree(case.sampler))


def _purity(case: _Case) -> None:
    """same input, same output, and nothing else is touched."""
    programs.assert_pure(*case.draw(), "drawing")


def _jit(case: _Case) -> None:
    """compiled and eager agree."""
    programs.assert_jit_is_eager(*case.draw(), 1e-5, "drawing")


def _keys(case: _Case) -> None:
    """no key is used twice, and the key that is given is used."""
    drawn = programs.assert_keys_are_fresh(*case.draw(), "drawing")
    assert len(drawn), "no random bits are drawn"


_PROPERTIES = {
    "batch": _batch,
    "key": _key,
    "steps": _steps,
    "purity": _purity,
    "jit": _jit,
    "argument": _argument,
    "keys": _keys,
}
