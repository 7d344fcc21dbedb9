"""Interpreter of jaxprs that records which keys a function draws with, or changes its draws."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.testing.assertions import is_key
from wgan_jax.types import Array, PyTree

# (key, the bits or split keys made from it) -> (the value to continue with, a note or None)
OnDraw = Callable[[Array, Array], tuple[Array, Any]]
_CONSUMES = ("random_bits", "random_split")
_NO_KEY = np.uint32(0xFFFFFFFF)  # fills the note of a draw that did not happen


def collect_prng_keys(function: Callable[..., Any], *args: PyTree) -> np.ndarray:
    """Return the keys that `function(*args)` turns into bits or splits, [draws, words].

    A correct function repeats none. Draws inside a scan count once per iteration, those of a
    `cond` in the branch taken, those of a `while_loop` in its first two iterations.

    Example:
      >>> import jax.numpy as jnp
      >>> def noise(key):
      ...     def turn(carry, i):
      ...         return carry, jax.random.normal(jax.random.fold_in(key, i))
      ...     return lax.scan(turn, 0, jnp.arange(3))[1]
      >>> collect_prng_keys(noise, jax.random.key(0)).shape
      (3, 2)
    """

    def note(key: Array, made: Array) -> tuple[Array, Array]:
        words = jax.random.key_data(jax.random.clone(key))
        return made, words.reshape(-1, words.shape[-1])

    closed = jax.make_jaxpr(function)(*args)

    def notes(leaves: list[Array]) -> list[Array]:
        return _evaluate(closed, leaves, note)[1]

    noted = jax.jit(notes)(jax.tree.leaves(args))  # all but the keys is dead code
    rows = [np.asarray(x).reshape(-1, x.shape[-1]) for x in noted]
    keys = np.concatenate(rows) if rows else np.zeros((0, 2), np.uint32)
    return keys[(keys != _NO_KEY).any(1)]


def draws(function: Callable[..., Any], *args: PyTree) -> bool:
    """Return whether a function draws any random bits, including in branches and loops.

    Example:
      >>> draws(lambda key: jax.random.fold_in(key, 1), jax.random.key(0))
      False
    """
    program = jax.make_jaxpr(function)(*args)
    return any(equation.primitive.name == "random_bits" for equation in equations(program))


def equations(program: Any) -> Iterator[Any]:
    """Yield all equations of a jaxpr, including those of nested jaxprs."""
    for equation in getattr(program, "jaxpr", program).eqns:
        yield equation
        for value in equation.params.values():
            for inner in value if isinstance(value, tuple | list) else (value,):
                if hasattr(getattr(inner, "jaxpr", inner), "eqns"):
                    yield from equations(inner)


def with_first_row_flipped(function: Callable[..., PyTree], n: int) -> Callable[..., PyTree]:
    """Return `function` with the bits of the first row flipped in every draw of shape [n, ...].

    Example:
      >>> f = lambda key: jax.random.uniform(key, (3, 2))
      >>> moved = with_first_row_flipped(f, 3)(jax.random.key(0)) != f(jax.random.key(0))
      >>> moved.any(1).tolist()
      [True, False, False]
    """

    def flip(key: Array, made: Array) -> tuple[Array, None]:
        is_row = made.shape[:1] == (n,) and not is_key(made)
        return (made.at[0].set(~made[0]) if is_row else made), None

    def changed(*args: PyTree) -> PyTree:
        closed, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        leaves = _evaluate(closed, jax.tree.leaves(args), flip)[0]
        return jax.tree.unflatten(jax.tree.structure(shapes), leaves)

    return changed


def _evaluate(program: Any, args: list[Any], on_draw: OnDraw) -> tuple[list[Any], list[Any]]:
    """Evaluate a jaxpr, closed or without constants.

    Returns its outputs and the notes of its draws, in a list of fixed length.
    """
    jaxpr, consts = getattr(program, "jaxpr", program), getattr(program, "consts", ())
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))
    notes: list[Any] = []

    def read(atom: Any) -> Any:
        return atom.val if hasattr(atom, "val") else values[atom]  # a literal or a variable

    for equation in jaxpr.eqns:
        outs, noted = _equation(equation, [read(v) for v in equation.invars], on_draw)
        values |= dict(zip(equation.outvars, outs, strict=True))
        notes += noted
    return [read(v) for v in jaxpr.outvars], notes


def _equation(equation: Any, inputs: list[Any], on_draw: OnDraw) -> tuple[list[Any], list[Any]]:
    primitive, params = equation.primitive, equation.params
    if primitive.name in _CONSUMES:
        made, note = on_draw(inputs[0], primitive.bind(*inputs, **params))
        return [made], [] if note is None else [note]
    if primitive.name in _CONTROL:
        return _CONTROL[primitive.name](equation, inputs, on_draw)
    inner = _called(equation)
    if inner is not None:
        return _evaluate(inner, inputs, on_draw)
    outs = primitive.bind(*inputs, **params)
    return (list(outs) if primitive.multiple_results else [outs]), []


def _called(equation: Any) -> Any | None:
    """Return the jaxpr that a plain call (jit, checkpoint, custom derivative) calls, or None."""
    inner = [x for x in equation.params.values() if hasattr(x, "eqns")]
    if len(inner) != 1:
        return None
    jaxpr = getattr(inner[0], "jaxpr", inner[0])
    fits = len(jaxpr.invars) == len(equation.invars)
    return inner[0] if fits and len(jaxpr.outvars) == len(equation.outvars) else None


def _scan(equation: Any, inputs: list[Any], on_draw: OnDraw) -> tuple[list, list]:
    """Evaluate the iterations of a scan, with `lax.scan` again.

    The body takes constants, carry and slices, and returns carry and slices. Ranks distinguish
    them, since slices have one more axis outside of the body; the parameters in which JAX
    counts them change their names between versions.
    """
    params = equation.params
    body = getattr(params["jaxpr"], "jaxpr", params["jaxpr"])
    first = _first_sliced(body.invars, equation.invars)
    carried = _first_sliced(body.outvars, equation.outvars)
    consts, start = inputs[: first - carried], inputs[first - carried : first]

    def turn(carry: list[Any], x: list[Any]) -> tuple[list[Any], tuple[list, list]]:
        outs, notes = _evaluate(params["jaxpr"], [*consts, *carry, *x], on_draw)
        return outs[:carried], (outs[carried:], notes)

    end, (outs, notes) = lax.scan(
        turn, start, inputs[first:], length=params["length"], reverse=params["reverse"]
    )
    return [*end, *outs], notes


def _cond(equation: Any, inputs: list[Any], on_draw: OnDraw) -> tuple[list, list]:
    """Evaluate the branch taken; the notes of the others contain no key."""
    index, *operands = inputs
    branches = equation.params["branches"]

    def values(branch: Any) -> Callable[..., list]:
        return lambda *args: _evaluate(branch, list(args), on_draw)[0]

    outs = lax.switch(index, [values(branch) for branch in branches], *operands)
    notes = []
    for i, branch in enumerate(branches):
        noted = _evaluate(branch, _cloned(operands), on_draw)[1]
        notes += [jnp.where(index == i, note, _NO_KEY) for note in noted]
    return list(outs), notes


def _while(equation: Any, inputs: list[Any], on_draw: OnDraw) -> tuple[list, list]:
    """Evaluate the loop; note the first two iterations, which both show a key that is reused."""
    condition, body = (equation.params[f"{part}_jaxpr"] for part in ("cond", "body"))
    count = len(equation.outvars)
    consts, carry = inputs[: len(inputs) - count], _cloned(inputs[len(inputs) - count :])
    of_condition = len(getattr(condition, "jaxpr", condition).invars) - count
    notes, runs = [], jnp.array(True)
    for _ in range(2):
        runs &= _evaluate(condition, [*consts[:of_condition], *_cloned(carry)], on_draw)[0][0]
        carry, noted = _evaluate(body, [*_cloned(consts[of_condition:]), *carry], on_draw)
        notes += [jnp.where(runs, note, _NO_KEY) for note in noted]
    return list(equation.primitive.bind(*inputs, **equation.params)), notes


def _cloned(values: list[Any]) -> list[Any]:
    """Clone keys for a second use, so that JAX's own reuse checker does not object."""
    return [jax.random.clone(x) if is_key(x) else x for x in values]


_CONTROL = {"scan": _scan, "cond": _cond, "while": _while}


def _first_sliced(inside: list[Any], outside: list[Any]) -> int:
    """Return the position of the first variable whose rank is higher outside of the body."""
    pairs = enumerate(zip(inside, outside, strict=True))
    sliced = (i for i, (a, b) in pairs if len(a.aval.shape) < len(b.aval.shape))
    return next(sliced, len(inside))
