"""The contract of a `Network`: finite gradients that reach the input and all weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.testing.assertions import assert_finite, is_floating, key_data, norm
from wgan_jax.testing.network_case import Case, at_zero, floats_of, with_floats
from wgan_jax.types import Array, PyTree

_STEPS = (1e-3, 1e-2, 0.1, 0.3)  # relative to the input: rounding hides slopes over short steps
_MAX_ERROR = 0.25  # relative; kinks and half precision change a slope by less
_DRAWS = 8  # of weights and inputs close to the given ones, since units may be dead at some


def gradient(case: Case) -> None:
    """gradients with respect to weights and input are finite, also at zero input."""
    for x, where in ((case.x, ""), (at_zero(case.x), " at x = 0")):
        of_weights, of_input = case.gradients(True, case.params, x)
        cause = " (a norm, a root or a quotient at zero? Put an epsilon inside it)"
        assert_finite(of_weights, f"the gradient with respect to the weights{where}{cause}")
        assert_finite(of_input, f"the gradient with respect to the input{where}{cause}")


def derivative(case: Case) -> None:
    """gradients with respect to the input and each weight are the slope of the output."""
    params, x = _near(case, 0)
    of_weights, of_input = case.gradients(True, params, x)
    if floats := floats_of(x):
        _assert_slopes(
            case, "the input", floats, of_input, lambda moved: (params, with_floats(x, moved))
        )
    leaves, treedef = jax.tree.flatten(params)
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    reach = [norm(w) * norm(g) for w, g in zip(leaves, jax.tree.leaves(of_weights), strict=True)]
    for i, (path, slope) in enumerate(zip(paths, jax.tree.leaves(of_weights), strict=True)):
        if reach[i] < 0.01 * max(reach):  # rounding hides its slope, as before a batch norm
            continue

        def with_leaf(moved: list[Array], i: int = i) -> tuple[PyTree, PyTree]:
            return jax.tree.unflatten(treedef, [*leaves[:i], *moved, *leaves[i + 1 :]]), x

        name = f"params{jax.tree_util.keystr(path)}"
        _assert_slopes(case, name, [leaves[i]], [slope], with_leaf)


def _assert_slopes(
    case: Case,
    name: str,
    leaves: list[Array],
    gradients: list[Array],
    moved_to: Callable[[list[Array]], tuple[PyTree, PyTree]],
) -> None:
    """Assert that the gradients agree with differences of outputs, in random directions."""
    at, rng = [np.asarray(leaf) for leaf in leaves], np.random.default_rng(case.seed)
    directions = [
        [norm(leaf) / leaf.size**0.5 * rng.normal(size=leaf.shape) for leaf in at]
        for _ in range(_DRAWS)
    ]

    def along(direction: list[np.ndarray]) -> float:
        return sum(float((g * v).sum()) for g, v in zip(gradients, direction, strict=True))

    def after(step: float, direction: list[np.ndarray]) -> float:
        moved = [jnp.asarray(a + step * v, a.dtype) for a, v in zip(at, direction, strict=True)]
        return case.combination(True, *moved_to(moved))

    derivatives, best, is_flat = np.array([along(d) for d in directions]), np.inf, True
    for step in _STEPS:
        slopes = [(after(step, d) - after(-step, d)) / (2 * step) for d in directions]
        slope = np.array(slopes)
        factor = float(derivatives @ slope) / (float(slope @ slope) or np.inf)
        best = min(best, factor, key=lambda factor: abs(factor - 1))
        is_flat &= not (derivatives.any() or slope.any())
        if abs(best - 1) <= _MAX_ERROR:
            return
    assert is_flat, (
        f"the gradient with respect to {name} is {best:.3g} times the slope of the output, in "
        f"{_DRAWS} directions (a custom_vjp with a wrong factor, a gradient that is clipped on "
        f"the way, or an index out of range?)"
    )


def gradient_flow(case: Case) -> None:
    """gradients reach the input and every weight, and depend on the data."""
    _assert_gradients_reach_all(case)
    _assert_labels_are_used(case)
    _assert_gradients_depend_on_data(case)


def _assert_gradients_reach_all(case: Case) -> None:
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(case.params)]
    names = [f"params{jax.tree_util.keystr(path)}" for path in paths]
    floating = [name for name, leaf in _inputs(case).items() if is_floating(leaf)]
    dead = {*names, *floating}
    # Training first, already compiled; noise of dropout or batch norm may hide a weight.
    for train in (True, False):
        for draw in range(_DRAWS):
            if not dead:
                return
            params, x = _near(case, draw)
            of_weights, of_input = case.gradients(train, params, x)
            alive = {n for n, g in zip(names, jax.tree.leaves(of_weights), strict=True) if g.any()}
            dead -= alive | {n for n, g in zip(floating, of_input, strict=True) if g.any()}
    unreached = sorted(dead)
    used = [name for name in unreached if _is_used(case, name, names)]
    assert not used, (
        f"no gradient reaches {', '.join(used)}, though the output depends on it: a stop_gradient, "
        f"rounding or an argmax on the way, or units that are saturated or dead?"
    )
    assert not unreached, (
        f"the output does not depend on {', '.join(unreached)}: a layer that is never called, "
        f"weights hard-coded in `apply`, or a constant activation (saturated, or a softmax of one "
        f"unit)?"
    )


def _assert_labels_are_used(case: Case) -> None:
    labels = [name for name, leaf in _inputs(case).items() if not is_floating(leaf)]
    ignored = [name for name in labels if not _is_used(case, name, [])]
    assert not ignored, f"the output does not depend on {', '.join(ignored)}: labels ignored?"


def _inputs(case: Case) -> dict[str, Array]:
    """Return the leaves of the input by name, without integers that are the same in all rows."""
    leaves = {
        f"the input{jax.tree_util.keystr(path)}": leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(case.x)
    }
    return {n: x for n, x in leaves.items() if is_floating(x) or bool((x != x[:1]).any())}


def _assert_gradients_depend_on_data(case: Case) -> None:
    """Assert that some gradient depends on the data, which consecutive zero kernels prevent."""
    if not jax.tree.leaves(case.params) or not floats_of(case.x):
        return
    inputs = [_near(case, draw)[1] for draw in range(_DRAWS)]
    inputs += [with_floats(x, [-3 * leaf for leaf in floats_of(x)]) for x in inputs]
    for train in (True, False):  # if units are few, training may drop all of them
        gradients = (case.gradients(train, case.params, x)[0] for x in inputs)
        first, *rest = (list(map(np.asarray, jax.tree.leaves(g))) for g in gradients)
        if any(not np.array_equal(a, b) for r in rest for a, b in zip(first, r, strict=True)):
            return
    raise AssertionError(
        "at the weights that init returns, the gradient is the same for all data: nothing can be "
        "learned (kernels that are all 0, or units that are all dead?)"
    )


def _near(case: Case, draw: int) -> tuple[PyTree, PyTree]:
    """Add noise of a third of their size to weights and input, so that none stays zero."""
    rng = np.random.default_rng((case.seed, draw))  # NumPy, which compiles nothing per shape

    def moved(leaf: Array) -> Array:
        values = np.asarray(leaf)
        size = 0.3 * norm(values) / max(values.size, 1) ** 0.5 + 0.05
        return jnp.asarray(values + size * rng.normal(size=values.shape), leaf.dtype)

    params = jax.tree.map(lambda w: moved(w) if is_floating(w) else w, case.params)
    return params, with_floats(case.x, [moved(leaf) for leaf in floats_of(case.x)])


def _is_used(case: Case, name: str, names: list[str]) -> bool:
    """Return whether the output in inference depends on the named weight or input."""
    function, arguments = case.compiled(False)
    _, stats, _, key = arguments()
    params, x = _near(case, 0)
    for draw in range(1, _DRAWS):
        other_params, other_x = _near(case, draw)
        if name not in names:
            changed: tuple[Any, Any] = (params, _with_other(x, other_x, name, draw))
        else:
            leaves, other_leaves = map(jax.tree.leaves, (params, other_params))
            i = names.index(name)
            mixed = [*leaves[:i], 100 * other_leaves[i], *leaves[i + 1 :]]
            changed = (jax.tree.unflatten(jax.tree.structure(params), mixed), x)
        outputs = [
            jax.tree.leaves(key_data(function(p, stats, z, jax.random.clone(key))[0]))
            for p, z in ((params, x), changed)
        ]
        if any(not np.array_equal(a, b) for a, b in zip(*outputs, strict=True)):
            return True
    return False


def _with_other(x: PyTree, other: PyTree, name: str, draw: int) -> PyTree:
    """Replace the named leaf by that of `other`, and labels by those of other rows."""

    def changed(path: Any, leaf: Array, moved: Array) -> Array:
        if name != f"the input{jax.tree_util.keystr(path)}":
            return leaf
        return moved if is_floating(leaf) else jnp.roll(leaf, draw, 0)

    return jax.tree_util.tree_map_with_path(changed, x, other)


def lipschitz(case: Case) -> None:
    """no slope exceeds `lipschitz`."""
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
