"""Assertions on pytrees, with messages that name the property and the values."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import chex
import jax
import jax.numpy as jnp
import numpy as np
from flax.errors import InvalidRngError, ModifyScopeVariableError

from wgan_jax.types import PyTree

# Names of properties in version 0.1, which `skip` still accepts.
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
      ValueError: `skip` names an unknown property.
      AssertionError: the first property that fails, by name and meaning.
    """
    __tracebackhide__ = True  # pytest shows the caller's line and the message
    skip = (skip,) if isinstance(skip, str) else skip
    skip = {FORMER_PROPERTIES.get(name, name) for name in skip}
    unknown = sorted(skip - properties.keys())
    if unknown:
        raise ValueError(f"{check} has no property {unknown}; it has {sorted(properties)}")
    for name, assert_holds in properties.items():
        if name not in skip:
            meaning = " ".join((assert_holds.__doc__ or "").split()).rstrip(".")
            try:
                assert_holds(case)
            except Exception as error:
                raise _explained(error, f"{check}, {name} ({meaning})") from _origin(error)


@contextlib.contextmanager
def error_context(what: str) -> Iterator[None]:
    """Turn any failure inside into an AssertionError whose message starts with `what`."""
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
    """Return the exception of the code under check behind `error`; None if a check failed."""
    if not isinstance(error, AssertionError):
        return error
    if error.__cause__ is not None:
        return error.__cause__
    frames = traceback.walk_tb(error.__traceback__)
    modules = [str(frame.f_globals.get("__name__")) for frame, _ in frames]
    callers = [name for name in modules if name.partition(".")[0] not in _COMPARE]
    return None if callers and callers[-1].startswith(f"{__package__}.") else error


# Packages whose assertions fail on behalf of their caller.
_COMPARE = frozenset({"chex", "contextlib", "functools", "jax", "numpy", "unittest"})


# Hints for errors that JAX and Flax raise, from specific to general.
_HINTS: dict[type[Exception], str] = {
    ModifyScopeVariableError: (
        "apply with train=False changes statistics (batch norm without "
        "use_running_average=not train?); "
    ),
    InvalidRngError: "from_linen seeds the stream `dropout` alone (make_rng('dropout')); ",
    jax.errors.TracerBoolConversionError: (
        "Python branches on a value that is known only at run time (use jnp.where or lax.cond); "
    ),
    jax.errors.TracerArrayConversionError: "numpy is called on a traced array (use jax.numpy); ",
    jax.errors.ConcretizationTypeError: (
        "Python needs a value that is known only at run time (keep it an array); "
    ),
    jax.errors.UnexpectedTracerError: (
        "a traced array is stored outside of the function, in a list or on an object (return it); "
    ),
}


def key_data(tree: PyTree) -> PyTree:
    """Replace typed keys by their words, which can be compared."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if is_key(x) else x, tree)


def is_key(x: Any) -> bool:
    """Return whether `x` is a typed key, traced or not."""
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def snapshot(tree: PyTree) -> PyTree:
    """Copy the tree to the host."""
    return jax.tree.map(np.array, key_data(tree))


def assert_same(found: PyTree, expected: PyTree, what: str) -> None:
    """Assert that the trees are equal bit for bit."""
    with error_context(what):
        chex.assert_trees_all_equal(snapshot(found), snapshot(expected))


def assert_same_structure(found: PyTree, expected: PyTree, what: str) -> None:
    """Assert the same structure and, leaf by leaf, the same shape, dtype and weak type.

    A weakly typed leaf behaves like a Python number: as the carry of a scan it fails, and it
    triggers recompilation in the next call.
    """
    with error_context(what):
        chex.assert_trees_all_equal_shapes_and_dtypes(key_data(found), key_data(expected))
        leaves = jax.tree_util.tree_leaves_with_path(key_data(found))
        for (path, leaf), other in zip(leaves, jax.tree.leaves(key_data(expected)), strict=True):
            weak, expected_weak = (bool(getattr(x, "weak_type", False)) for x in (leaf, other))
            name = jax.tree_util.keystr(path)
            assert weak == expected_weak, f"{name} has weak_type {weak}, not {expected_weak}"


def assert_close(
    found: PyTree,
    expected: PyTree,
    rtol: float,
    what: str,
    nearby: Callable[[], Iterable[PyTree]] = tuple,
) -> None:
    """Assert equality up to rounding: per leaf in norm, for integers exactly.

    The tolerance of a leaf is `rtol` times its own norm plus that of a typical leaf of its
    size, so that leaves of pure rounding error do not fail. `nearby` yields what is expected from
    inputs that are off by rounding: a leaf may differ by a few times as much as they do.
    """
    found, expected = snapshot(found), snapshot(expected)
    with error_context(what):
        chex.assert_trees_all_equal_shapes_and_dtypes(found, expected)
        floats = [x for x in jax.tree.leaves(expected) if is_floating(x)]
        total = sum(x.size for x in floats)
        typical = np.sqrt(sum(norm(x) ** 2 for x in floats) / total) if total else 0.0
        for path, leaf in jax.tree_util.tree_leaves_with_path(expected):
            name = jax.tree_util.keystr(path)
            actual = leaf_at(found, path)
            if not is_floating(leaf):
                np.testing.assert_array_equal(actual, leaf, err_msg=name)
                continue
            distance = norm(actual.astype(np.float64) - leaf.astype(np.float64))
            tolerance = rtol * (norm(leaf) + typical * np.sqrt(leaf.size))
            for other in nearby() if distance > tolerance else ():
                off = snapshot(leaf_at(other, path)).astype(np.float64) - leaf.astype(np.float64)
                tolerance = max(tolerance, 4 * norm(off))
            assert distance <= tolerance, (
                f"{name or 'it'} differs by {distance:.3g} in norm, more than {tolerance:.3g} "
                f"(got {_few(actual)}, expected {_few(leaf)})"
            )


def assert_different(found: PyTree, other: PyTree, what: str) -> None:
    """Assert that at least one leaf differs; trees without leaves pass."""
    pairs = list(
        zip(jax.tree.leaves(key_data(found)), jax.tree.leaves(key_data(other)), strict=True)
    )
    same = [np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs]
    assert not pairs or not all(same), what


def assert_arrays_only(tree: PyTree, what: str) -> None:
    """Assert that every leaf is a `jax.Array`."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        assert isinstance(leaf, jax.Array), (
            f"{what} must contain arrays only, but {jax.tree_util.keystr(path)} is a "
            f"{type(leaf).__name__}: {leaf!r:.80}"
        )


def assert_finite(tree: PyTree, what: str) -> None:
    """Assert that no floating-point leaf contains an infinity or a NaN."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(key_data(tree)):
        if is_floating(leaf):
            bad = int((~jnp.isfinite(leaf)).sum())
            name = jax.tree_util.keystr(path)
            assert not bad, f"{what}{name}: {bad:,} of {leaf.size:,} values are not finite"


def assert_scalar(x: Any, what: str) -> None:
    """Assert that `x` is a floating-point scalar."""
    shape, dtype = jnp.shape(x), jnp.asarray(x).dtype
    assert shape == () and jnp.issubdtype(dtype, jnp.floating), (  # noqa: PT018
        f"{what} must be a floating-point scalar, got shape {shape} and dtype {dtype}"
    )


def is_floating(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jnp.floating)


def norm(x: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(x, np.float64).reshape(-1)))


def leaf_at(tree: PyTree, path: tuple) -> Any:
    """Return the leaf at a `jax.tree_util` path."""
    leaves = dict(jax.tree_util.tree_leaves_with_path(tree))
    return leaves[path]


def _few(x: np.ndarray) -> str:
    return np.array2string(np.asarray(x).reshape(-1)[:4], precision=4, threshold=4)
