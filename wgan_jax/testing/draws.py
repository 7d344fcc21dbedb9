"""Every draw of random bits in a traced function: which key it took, and what it changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from wgan_jax.testing.assertions import is_key
from wgan_jax.types import Array, PyTree

# (key, what it was turned into: bits, or keys by a split) -> (what to go on with, a note or None)
OnDraw = Callable[[Array, Array], tuple[Array, Any]]
_CONSUMES = ("random_bits", "random_split")


def keys_drawn(function: Callable[..., Any], *args: PyTree) -> np.ndarray:
    """The keys that `function(*args)` turns into bits or splits, [draws, words].

    Of a sound function no two are equal. Draws inside a scan are counted once for
    each turn. Those in the branches of a `cond` and in a `while_loop` are not seen.

    Example:
      >>> import jax.numpy as jnp
      >>> def noise(key):
      ...     def turn(carry, i):
      ...         return carry, jax.random.normal(jax.random.fold_in(key, i))
      ...     return lax.scan(turn, 0, jnp.arange(3))[1]
      >>> keys_drawn(noise, jax.random.key(0)).shape
      (3, 2)
    """

    def note(key: Array, made: Array) -> tuple[Array, Array]:
        words = jax.random.key_data(jax.random.clone(key))
        return made, words.reshape(-1, words.shape[-1])

    closed = jax.make_jaxpr(function)(*args)

    def notes(leaves: list[Array]) -> list[Array]:
        return _evaluate(closed.jaxpr, closed.consts, leaves, note)[1]

    found = jax.jit(notes)(jax.tree.leaves(args))  # all but the keys is dead code
    rows = [np.asarray(x).reshape(-1, x.shape[-1]) for x in found]
    return np.concatenate(rows) if rows else np.zeros((0, 2), np.uint32)


def with_first_row_flipped(function: Callable[..., PyTree], n: int) -> Callable[..., PyTree]:
    """`function` with the bits of the first row flipped in every draw of [n, ...].

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
        leaves = _evaluate(closed.jaxpr, closed.consts, jax.tree.leaves(args), flip)[0]
        return jax.tree.unflatten(jax.tree.structure(shapes), leaves)

    return changed


def _evaluate(
    jaxpr: Jaxpr, consts: list[Any], args: list[Any], on_draw: OnDraw
) -> tuple[list[Any], list[Any]]:
    """Values of a program, and notes of its draws in a list of fixed length."""
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, consts, strict=True))
    values |= dict(zip(jaxpr.invars, args, strict=True))
    notes: list[Any] = []

    def read(atom: Any) -> Any:
        return atom.val if isinstance(atom, Literal) else values[atom]

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
    if primitive.name == "scan":
        return _scan(params, inputs, on_draw)
    inner = _called(equation)
    if inner is not None:
        return _evaluate(inner.jaxpr, inner.consts, inputs, on_draw)
    outs = primitive.bind(*inputs, **params)
    return (list(outs) if primitive.multiple_results else [outs]), []


def _called(equation: Any) -> ClosedJaxpr | None:
    """What a plain call (of jit, of a checkpoint, of a function with its own derivative) calls."""
    inner = [x for x in equation.params.values() if isinstance(x, ClosedJaxpr | Jaxpr)]
    if len(inner) != 1:
        return None
    closed = inner[0] if isinstance(inner[0], ClosedJaxpr) else ClosedJaxpr(inner[0], ())
    fits = len(closed.jaxpr.invars) == len(equation.invars)
    return closed if fits and len(closed.jaxpr.outvars) == len(equation.outvars) else None


def _scan(params: dict[str, Any], inputs: list[Any], on_draw: OnDraw) -> tuple[list, list]:
    closed, fixed, carried = params["jaxpr"], params["num_consts"], params["num_carry"]
    consts, start = inputs[:fixed], inputs[fixed : fixed + carried]

    def turn(carry: list[Any], x: list[Any]) -> tuple[list[Any], tuple[list, list]]:
        outs, notes = _evaluate(closed.jaxpr, closed.consts, [*consts, *carry, *x], on_draw)
        return outs[:carried], (outs[carried:], notes)

    end, (outs, notes) = lax.scan(
        turn, start, inputs[fixed + carried :], length=params["length"], reverse=params["reverse"]
    )
    return [*end, *outs], notes
