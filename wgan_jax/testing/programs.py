"""Properties that hold for every pure function."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np

from wgan_jax.testing.assertions import (
    assert_close,
    assert_same,
    assert_same_structure,
    is_key,
    key_data,
    snapshot,
)
from wgan_jax.testing.draws import collect_prng_keys, equations
from wgan_jax.types import Array, PyTree

Arguments = Callable[[], tuple]
"""Creates the arguments anew for each call, so that no key is passed twice."""


def assert_pure(function: Callable[..., PyTree], arguments: Arguments, what: str) -> None:
    """Assert that equal inputs give equal outputs, without side effects or changes to the input."""
    args = arguments()
    before = snapshot(args)
    first = function(*args)
    cause = "it writes into a dict or an array that it was given; return a new one"
    assert_same(args, before, f"{what} changes its input ({cause})")
    cause = "numpy's random numbers, the time, or state kept in Python?"
    again = function(*arguments())
    assert_same(again, first, f"{what} gives different results for the same input ({cause})")
    programs = [fresh_program(function, arguments()) for _ in range(2)]
    assert not programs[0].effects, (
        f"{what} has side effects: {programs[0].effects} (a print or a callback to the host?)"
    )
    (first_text, first_constants), (second_text, second_constants) = map(_text, programs)
    assert first_text == second_text, (
        f"{what} yields a different jaxpr each time it is traced (state kept in Python?)"
    )
    for a, b in zip(first_constants, second_constants, strict=True):
        assert np.array_equal(a, b), (
            f"{what} depends on something outside its arguments: two traces contain different "
            f"constants, {a.reshape(-1)[:3]} and {b.reshape(-1)[:3]}"
        )


def fresh_program(function: Callable[..., PyTree], args: tuple) -> Any:
    """Trace `function` to a jaxpr, running its Python again regardless of caches."""
    with jax.disable_jit():
        return jax.make_jaxpr(function)(*args)


def _text(program: Any) -> tuple[str, list[np.ndarray]]:
    constants = [snapshot(c) for c in program.consts if not callable(c)]
    return re.sub(r"0x[0-9a-f]+", "", str(program)), constants


def assert_jit_is_eager(
    function: Callable[..., PyTree],
    arguments: Arguments,
    rtol: float,
    what: str,
    nearby: Callable[[], Iterable[PyTree]] = tuple,
) -> None:
    """Assert that compiled and eager results are equal up to rounding, as in `assert_close`."""
    compiled = jax.jit(function)(*arguments())
    with jax.disable_jit():
        eager = function(*arguments())
    assert_same_structure(compiled, eager, f"{what} changes structure or dtypes when compiled")
    assert_close(
        compiled,
        eager,
        rtol,
        f"{what} gives other values compiled than run eagerly "
        "(Python that checks whether it is traced, or operations that the compiler reorders?)",
        nearby,
    )


def assert_keys_are_fresh(
    function: Callable[..., Any], arguments: Arguments, what: str
) -> np.ndarray:
    """Assert that no key is used twice, and return the keys used."""
    drawn = collect_prng_keys(function, *arguments())
    assert_distinct(drawn, f"{what} uses a key more than once (split it, or fold a number into it)")
    return drawn


def assert_keys_follow(
    function: Callable[..., Any], args: tuple, other_args: tuple, what: str
) -> None:
    """Assert that no key is used under both arguments, whose keys differ."""
    keys = (collect_prng_keys(function, *arguments) for arguments in (args, other_args))
    first, second = (set(map(tuple, drawn.tolist())) for drawn in keys)
    assert not (fixed := first & second), (
        f"{what} draws with a key of its own, {list(min(fixed))}, regardless of the key it is "
        f"given: its noise is the same in every step"
    )


def assert_distinct(keys: np.ndarray, what: str) -> None:
    rows, counts = np.unique(keys, axis=0, return_counts=True)
    assert (counts <= 1).all(), (
        f"{what}: {(counts - 1).sum()} of its {len(keys)} draws repeat a key, "
        f"first {rows[counts.argmax()].tolist()}"
    )


def assert_exports(
    function: Callable[..., PyTree],
    arguments: Arguments,
    rtol: float,
    what: str,
    nearby: Callable[[], Iterable[PyTree]] = tuple,
) -> None:
    """Assert that `function` computes the same after `jax.export` and deserialization.

    It does so up to rounding, as in `assert_close`.
    """
    args = arguments()
    called = {e.primitive.name for e in equations(fresh_program(function, arguments()))}
    assert not (host := sorted(name for name in called if "callback" in name)), (
        f"{what} calls the host ({', '.join(host)}), which an exported program cannot do: write it "
        f"in jax.numpy, or skip `export`"
    )
    leaves, treedef = jax.tree.flatten(args)
    implementations = [str(jax.random.key_impl(x)) if is_key(x) else None for x in leaves]

    def flat(*words: Array) -> list[Array]:
        pairs = zip(words, implementations, strict=True)
        wrapped = [x if i is None else jax.random.wrap_key_data(x, impl=i) for x, i in pairs]
        outs = jax.tree.leaves(function(*jax.tree.unflatten(treedef, wrapped)))
        return [jax.random.key_data(x) if is_key(x) else x for x in outs]

    words = [jax.random.key_data(jax.random.clone(x)) if is_key(x) else x for x in leaves]
    written = jax.export.export(jax.jit(flat))(*words).serialize()
    read = jax.export.deserialize(written).call(*words)
    others = lambda: (jax.tree.leaves(key_data(other)) for other in nearby())  # noqa: E731
    assert_close(read, flat(*words), rtol, f"{what} gives other values once exported", others)
