"""Comparisons of pytrees whose failures say what was compared."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.types import PyTree

# What properties were called in version 0.1; `skip` still takes these names.
FORMER_PROPERTIES = {
    "turns": "alternation",
    "neighbours": "batch_independence",
    "box": "weight_bounds",
}


def run_properties(
    check: str,
    properties: Mapping[str, Callable[[Any], None]],
    case: Any,
    skip: Collection[str],
) -> None:
    """Run every property that is not skipped, in order.

    Raises:
      ValueError: a property to skip that there is not.
      AssertionError: the first property that fails, by name and meaning.
    """
    __tracebackhide__ = True  # pytest shows the caller's line, and what is wrong
    skip = (skip,) if isinstance(skip, str) else skip
    skip = {FORMER_PROPERTIES.get(name, name) for name in skip}
    unknown = sorted(skip - properties.keys())
    if unknown:
        raise ValueError(f"{check} has no property {unknown}; it has {sorted(properties)}")
    for name, holds in properties.items():
        if name not in skip:
            meaning = " ".join((holds.__doc__ or "").split()).rstrip(".")
            try:
                holds(case)
            except Exception as error:
                raise _explained(error, f"{check}, {name} ({meaning})") from _origin(error)


@contextlib.contextmanager
def error_context(what: str) -> Iterator[None]:
    """Put `what` before the message of any failure inside, and make it an AssertionError."""
    __tracebackhide__ = True
    try:
        yield
    except Exception as error:
        raise _explained(error, what) from _origin(error)


def _explained(error: Exception, what: str) -> AssertionError:
    if isinstance(error, AssertionError):
        return AssertionError(f"{what}: {error}")
    cause = next((hint for kind, hint in _HINTS.items() if isinstance(error, kind)), "")
    return AssertionError(f"{what}: {cause}raised {type(error).__name__}: {error}")


def _origin(error: Exception) -> BaseException | None:
    """The exception of the code under check that led to this one; None if a check failed."""
    if not isinstance(error, AssertionError):
        return error
    if error.__cause__ is not None:
        return error.__cause__
    frames = traceback.walk_tb(error.__traceback__)
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in frames]
    asked = [name for name in modules if name.partition(".")[0] not in _COMPARE]
    return None if asked and asked[-1].startswith(f"{__package__}.") else error


# Where an assertion fails for whoever asked for it.
_COMPARE = frozenset({"chex", "contextlib", "functools", "jax", "numpy", "unittest"})


# What JAX raises while it traces, from the special to the general.
_HINTS: dict[type[Exception], str] = {
    jax.errors.TracerBoolConversionError: (
        "Python branches on a value that is known only when the program runs (use jnp.where or "
        "lax.cond); "
    ),
    jax.errors.TracerArrayConversionError: "numpy is called on a traced array (use jax.numpy); ",
    jax.errors.ConcretizationTypeError: (
        "Python needs a value that is known only when the program runs (keep it an array); "
    ),
    jax.errors.UnexpectedTracerError: (
        "a traced array was kept outside of the function, in a list or on an object (return it); "
    ),
}


def key_data(tree: PyTree) -> PyTree:
    """The tree with typed keys as the words that they are made of, which can be compared."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


def is_key(x: Any) -> bool:
    """A typed key, or one that is being traced."""
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def snapshot(tree: PyTree) -> PyTree:
    """A copy on the host that nobody else can write to."""
    return jax.tree.map(np.array, key_data(tree))


def assert_same(found: PyTree, expected: PyTree, what: str) -> None:
    """Equal bit for bit."""
    with error_context(what):
        chex.assert_trees_all_equal(snapshot(found), snapshot(expected))


def assert_same_structure(found: PyTree, expected: PyTree, what: str) -> None:
    """The same structure, and leaf by leaf the same shape, dtype and weakness of the dtype.

    A weakly typed leaf is a Python number in disguise: as the carry of a scan it
    fails, and in the next call it compiles the program again.
    """
    with error_context(what):
        chex.assert_trees_all_equal_shapes_and_dtypes(key_data(found), key_data(expected))
        leaves = jax.tree_util.tree_leaves_with_path(key_data(found))
        for (path, leaf), other in zip(leaves, jax.tree.leaves(key_data(expected)), strict=True):
            weak, expected_weak = (bool(getattr(x, "weak_type", False)) for x in (leaf, other))
            name = jax.tree_util.keystr(path)
            assert weak == expected_weak, f"{name} has weak_type {weak}, was {expected_weak}"


def assert_close(found: PyTree, expected: PyTree, rtol: float, what: str) -> None:
    """Equal up to rounding: per leaf in the norm, integers exactly.

    The room of a leaf is `rtol` times its own norm plus that of a typical leaf
    of its size, so that leaves of nothing but rounding error do not decide.
    """
    found, expected = snapshot(found), snapshot(expected)
    with error_context(what):
        chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
        floats = [x for x in jax.tree.leaves(expected) if is_floating(x)]
        total = sum(x.size for x in floats)
        typical = np.sqrt(sum(norm(x) ** 2 for x in floats) / total) if total else 0.0
        for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
            name = jax.tree_util.keystr(path)
            other = leaf_at(found, path)
            if not is_floating(leaf):
                np.testing.assert_array_equal(other, leaf, err_msg=name)
                continue
            away = norm(other.astype(np.float64) - leaf.astype(np.float64))
            room = rtol * (norm(leaf) + typical * np.sqrt(leaf.size))
            assert away <= room, (
                f"{name or 'it'} is {away:.3g} away in the norm, more than {room:.3g} "
                f"(got {_few(other)}, expected {_few(leaf)})"
            )


def assert_different(found: PyTree, other: PyTree, what: str) -> None:
    """At least one leaf differs; trees without leaves pass."""
    pairs = list(
        zip(jax.tree.leaves(key_data(found)), jax.tree.leaves(key_data(other)), strict=True)
    )
    same = [np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs]
    assert not pairs or not all(same), what


def assert_arrays_only(tree: PyTree, what: str) -> None:
    """Every leaf is a `jax.Array`."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        assert isinstance(leaf, jax.Array), (
            f"{what} holds arrays only, but at {jax.tree_util.keystr(path)} it holds a "
            f"{type(leaf).__name__}: {leaf!r:.80}"
        )


def assert_finite(tree: PyTree, what: str) -> None:
    """No infinity and no NaN in any leaf of floats."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(key_data(tree)):
        if is_floating(leaf):
            bad = int((~jnp.isfinite(leaf)).sum())
            name = jax.tree_util.keystr(path)
            assert not bad, f"{what}{name}: {bad:,} of {leaf.size:,} values are not finite"


def assert_scalar(x: Any, what: str) -> None:
    """A scalar array of floats."""
    shape, dtype = jnp.shape(x), jnp.asarray(x).dtype
    assert shape == () and jnp.issubdtype(dtype, jnp.floating), (  # noqa: PT018
        f"{what} is a scalar of floats, got shape {shape} and dtype {dtype}"
    )


def is_floating(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def norm(x: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(x, np.float64).reshape(-1)))


def leaf_at(tree: PyTree, path: tuple) -> Any:
    """The leaf at a path of `jax.tree_util`."""
    leaves = dict(jax.tree_util.tree_leaves_with_path(tree))
    return leaves[path]


def _few(x: np.ndarray) -> str:
    return np.array2string(np.asarray(x).reshape(-1)[:4], precision=4, threshold=4)
