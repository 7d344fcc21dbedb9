"""Calling of module factories with a key, and checks of what they return."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax

from wgan_jax.types import Array, PyTree, library_of


def bind_key(
    adapter: str, make: Callable[..., Any], args: tuple, kwargs: dict[str, Any], name: str
) -> Callable[[Any], Any]:
    """Reduce `make` to a function of its key, passed by name, by position, or not at all.

    Raises:
      ValueError: `make` cannot be called, or not with these arguments.
    """
    if not callable(make):
        raise ValueError(
            f"{adapter} takes the class of a module or a function that makes one, "
            f"got {type(make).__name__}"
        )
    # The metaclass of an NNX module hides the signature of the class.
    is_class = inspect.isclass(make)
    signature = inspect.signature(make.__init__ if is_class else make)
    positional = (None, *args) if is_class else args

    def accepts(*more: Any, **named: Any) -> bool:
        try:
            signature.bind(*positional, *more, **kwargs, **named)
        except TypeError:
            return False
        return True

    if accepts(**{name: None}):
        return lambda key: make(*args, **kwargs, **{name: key})
    if accepts():
        return lambda key: make(*args, **kwargs)
    if accepts(None):
        return lambda key: make(*args, key, **kwargs)
    listed = [_in_short(x) for x in args] + [f"{k}={_in_short(x)}" for k, x in kwargs.items()]
    got = f"{adapter}({', '.join([name_of(make), *listed])})"
    raise ValueError(
        f"{adapter} calls {name_of(make)} with {name}=... and with the arguments that follow it, "
        f"got {got}, but it takes {signature}; {adapter} itself gives {name}"
    )


def _in_short(value: Any) -> str:
    """Format a value in one short line, unlike the repr of arrays and modules."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 40 else f"{type(value).__name__}(...)"


def trace(
    adapter: str, make: Callable[..., Any], name: str, build: Callable[[Array, Array], PyTree]
) -> PyTree:
    """Return shapes of the arrays that `build` makes from two keys, by tracing alone.

    Raises:
      ValueError: random numbers are drawn, but not from the keys.
    """
    program, shapes = jax.make_jaxpr(build, return_shape=True)(*jax.random.split(jax.random.key(0)))
    drawn = any(f"{primitive}[" in str(program) for primitive in ("random_bits", "random_seed"))
    used = {id(x) for equation in program.jaxpr.eqns for x in equation.invars}
    if drawn and id(program.jaxpr.invars[0]) not in used:
        raise ValueError(
            f"{adapter}: {name_of(make)} draws its weights from its own key, so every seed "
            f"starts alike; let it take `{name}` and pass it on to its layers"
        )
    return shapes


def not_a_factory(adapter: str, given: Any, name: str) -> ValueError:
    kind = type(given).__name__
    return ValueError(
        f"{adapter} takes the class of a module or a function that makes one, but got a module, "
        f"{kind}(...): its weights would be the same for every seed. Write "
        f"{adapter}({kind}, ...) or {adapter}(lambda {name}: {kind}(..., {name}={name}))"
    )


def not_a_module(adapter: str, make: Callable[..., Any], made: Any, wanted: str) -> ValueError:
    library = library_of(made)
    hint = f"; it is from {library[0]}: use {library[1]}" if library else ""
    return ValueError(
        f"{adapter}: {name_of(make)} returns a {type(made).__name__}, not {wanted}{hint}"
    )


def made_outside(adapter: str, make: Callable[..., Any], what: str, name: str) -> ValueError:
    return ValueError(
        f"{adapter}: {what} was made outside {name_of(make)} and would be the same for every "
        f"seed; make it inside, from the `{name}` that is passed in"
    )


def name_of(make: Callable[..., Any]) -> str:
    return getattr(make, "__qualname__", repr(make))
