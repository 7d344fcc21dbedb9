"""Properties of any pure function, whatever it computes."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from wgan_jax.testing.assertions import (
    assert_close,
    assert_same,
    assert_same_structure,
    is_key,
    snapshot,
)
from wgan_jax.testing.draws import collect_prng_keys, equations
from wgan_jax.types import Array, PyTree

Arguments = Callable[[], tuple]
"""Makes the arguments afresh, so that no key is handed in twice."""


def assert_pure(function: Callable[..., PyTree], arguments: Arguments, what: str) -> None:
    """Same input, same output; the input is left as it was; nothing else is touched."""
    args = arguments()
    before = snapshot(args)
    first = function(*args)
    cause = "it writes into a dict or an array that it was given; return a new one"
    assert_same(args, before, f"{what} changes its input ({cause})")
    cause = "numpy's random numbers, the time, or state kept in Python?"
    again = function(*arguments())
    assert_same(again, first, f"{what} of the same input is not the same ({cause})")
    programs = [fresh_program(function, arguments()) for _ in range(2)]
    assert not programs[0].effects, (
        f"{what} has side effects: {programs[0].effects} (a print or a callback to the host?)"
    )
    (one, constants), (other, others) = map(_text, programs)
    assert one == other, (
        f"{what} yields a different jaxpr each time that it is traced (state kept in Python?)"
    )
    for a, b in zip(constants, others, strict=True):
        assert np.array_equal(a, b), (
            f"{what} draws on something outside its arguments: two traces hold different "
            f"constants, {a.reshape(-1)[:3]} and {b.reshape(-1)[:3]}"
        )


def fresh_program(function: Callable[..., PyTree], args: tuple) -> Any:
    """The jaxpr of `function`, its Python run again whatever compiled programs are at hand."""
    with jax.disable_jit():
        return jax.make_jaxpr(function)(*args)


def _text(program: Any) -> tuple[str, list[np.ndarray]]:
    constants = [snapshot(c) for c in program.consts if not callable(c)]
    return re.sub(r"0x[0-9a-f]+", "", str(program)), constants


def assert_jit_is_eager(
    function: Callable[..., PyTree], arguments: Arguments, rtol: float, what: str
) -> None:
    """Compiled and operation by operation the results are the same up to rounding."""
    compiled = jax.jit(function)(*arguments())
    with jax.disable_jit():
        eager = function(*arguments())
    assert_same_structure(compiled, eager, f"{what} compiled is of another kind than run eagerly")
    assert_close(
        compiled,
        eager,
        rtol,
        f"{what} compiled is not what it is run eagerly "
        "(Python that asks whether it is traced, or operations that the compiler reorders?)",
    )


def assert_keys_are_fresh(
    function: Callable[..., Any], arguments: Arguments, what: str
) -> np.ndarray:
    """No key is used twice. Returns the keys used."""
    drawn = collect_prng_keys(function, *arguments())
    assert_distinct(drawn, f"{what} uses a key more than once (split it, or fold a number into it)")
    return drawn


def assert_keys_follow(
    function: Callable[..., Any], args: tuple, other_args: tuple, what: str
) -> None:
    """No key is used under both arguments, whose keys differ: each is made from them."""
    keys = (collect_prng_keys(function, *some) for some in (args, other_args))
    one, other = (set(map(tuple, drawn.tolist())) for drawn in keys)
    assert not (fixed := one & other), (
        f"{what} draws with a key of its own, {list(min(fixed))}, whatever key it is given: its "
        f"noise is the same in every step"
    )


def assert_distinct(keys: np.ndarray, what: str) -> None:
    rows, counts = np.unique(keys, axis=0, return_counts=True)
    assert (counts <= 1).all(), (
        f"{what}: {(counts - 1).sum()} of its {len(keys)} draws repeat a key, "
        f"first {rows[counts.argmax()].tolist()}"
    )


def assert_exports(
    function: Callable[..., PyTree], arguments: Arguments, rtol: float, what: str
) -> None:
    """Written by `jax.export` and read again, it computes the same."""
    args = arguments()
    called = {e.primitive.name for e in equations(fresh_program(function, arguments()))}
    assert not (host := sorted(name for name in called if "callback" in name)), (
        f"{what} calls the host ({', '.join(host)}), which no exported program can: write it in "
        f"jax.numpy, or skip `export`"
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
    assert_close(read, flat(*words), rtol, f"{what}, exported and read again, is not the same")
