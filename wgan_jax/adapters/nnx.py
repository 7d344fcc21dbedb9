"""Flax NNX: modules are split into arrays outside of a call, and merged inside it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax.errors import TraceContextError
from flax.traverse_util import flatten_dict, unflatten_dict

from wgan_jax.adapters import factory
from wgan_jax.types import Array, Network, PyTree

Flat = dict[tuple[Any, ...], Any]


def from_nnx(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Network:
    """A Flax NNX module as a `Network`.

    `nnx.Param` are `params`. All other arrays are `stats`: running statistics, caches,
    kinds of `nnx.Variable` of your own. Random streams are neither: in each call they
    start from `key`, which may be None where nothing is drawn. Variables that layers
    share stay shared.

    The module is called as `module(x)`, after `module.train()` or `module.eval()`; with
    `train=...` where its `__call__` takes `train`, and with `rngs=...` where it takes
    `rngs`.

    Args:
      make: the class of the module, or a function that makes one, called as
        `make(*args, rngs=nnx.Rngs(key), **kwargs)`; without `rngs` where it takes none.
      *args: arguments of `make`.
      **kwargs: likewise.

    Returns:
      The `Network`. `params` and `stats` are dicts of arrays by attribute.

    Raises:
      ValueError: `make` is a module, or makes something else or from outside, or draws
        from keys of its own. When applied: `key` is missing where the module draws, or
        the module adds variables in its call.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> critic = from_nnx(nnx.Linear, 2, 1)  # as nnx.Linear(2, 1, rngs=nnx.Rngs(key))
      >>> params, stats = critic.init(jax.random.key(0), jnp.ones((8, 2)))
      >>> sorted(params), critic.apply(params, stats, jnp.ones((8, 2)), train=True)[0].shape
      (['bias', 'kernel'], (8, 1))
    """
    from flax import nnx

    if isinstance(make, nnx.Module):
        raise factory.not_a_factory("from_nnx", make, "rngs")
    build = factory.bind_key("from_nnx", make, args, kwargs, "rngs")

    def new(key: Array) -> Any:
        try:
            module = build(nnx.Rngs(key))
        except TraceContextError as error:
            what = "an nnx.Rngs that it draws from"
            raise factory.made_outside("from_nnx", make, what, "rngs") from error
        if not isinstance(module, nnx.Module):
            raise factory.not_a_module("from_nnx", make, module, "an nnx.Module")
        # While it is traced, NNX takes a plain array for a setting and not for data.
        for _, node in list(nnx.iter_graph(module)):
            for name, value in list(vars(node).items()) if isinstance(node, nnx.Pytree) else ():
                if isinstance(value, jax.core.Tracer):
                    setattr(node, name, nnx.data(value))
        return module

    # The structure holds no arrays, so one trace tells it for all keys.
    structure: list[Any] = []

    def look(key: Array, other_key: Array) -> list[Flat]:
        module, other = new(key), new(other_key)
        seen = {id(x) for _, x in nnx.iter_graph(other) if isinstance(x, nnx.Variable)}
        for path, node in nnx.iter_graph(module):
            if id(node) in seen:
                what = f"the variable {'.'.join(map(str, path))}"
                raise factory.made_outside("from_nnx", make, what, "rngs")
        graph, *flat = _split(module)
        structure[:] = graph, _options(module)
        return flat

    params_like, streams_like, stats_like = factory.trace("from_nnx", make, "rngs", look)
    graph, options = structure

    def init(key: Array, x: PyTree) -> tuple[PyTree, PyTree]:
        _, params, _, stats = _split(new(key))
        return _nested(params), _nested(stats)

    def apply(params: PyTree, stats: PyTree, x: PyTree, *, train: bool, key: Array | None = None):
        # Without a key the streams hold another one; that nothing was drawn is seen afterwards.
        root = jax.random.key(0) if key is None else key
        streams = _streams(streams_like, root)
        arrays = streams | _flat(params, params_like) | _flat(stats, stats_like)
        module = nnx.merge(graph, nnx.State(unflatten_dict(arrays)))
        module.train() if train else module.eval()
        given: dict[str, Any] = {"train": train, "rngs": None}
        if key is not None and "rngs" in options:
            given["rngs"] = nnx.Rngs(jax.random.fold_in(key, len(streams)))
        y = module(x, **{name: given[name] for name in options})

        _, _, drawn, after = _split(module)
        if key is None and any(drawn[path] is not streams[path] for path in streams):
            raise ValueError(
                f"{type(module).__name__} draws random numbers with train={train}, as dropout "
                f"does in training, and needs a key: apply(..., train={train}, key=key)"
            )
        if after.keys() != stats_like.keys():
            changed = sorted(".".join(map(str, p)) for p in after.keys() ^ stats_like.keys())
            raise ValueError(
                f"{type(module).__name__} adds or removes the variables {changed} in its call; "
                f"make them in its __init__, so that a state has the same arrays after each step"
            )
        return y, _nested(after) if train else stats

    return Network(init, apply)


def to_nnx(module: Any, params: PyTree, stats: PyTree) -> Any:
    """A Flax NNX module with the weights of a state, for use outside of this package.

    Args:
      module: made as `from_nnx` makes it; its arrays are replaced in place.
      params: of the network that `from_nnx` gave, as in `state.generator.params`.
      stats: likewise.

    Returns:
      The module.

    Raises:
      ValueError: the arrays are not those of such a module.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from flax import nnx
      >>> params, stats = from_nnx(nnx.Linear, 2, 1).init(jax.random.key(0), jnp.ones((8, 2)))
      >>> layer = to_nnx(nnx.Linear(2, 1, rngs=nnx.Rngs(1)), params, stats)
      >>> bool((layer.kernel == params["kernel"]).all())
      True
    """
    from flax import nnx

    _, params_like, _, stats_like = _split(module)
    arrays: Flat = {}
    for kind, given, like in (("params", params, params_like), ("stats", stats, stats_like)):
        shapes = {tuple(map(str, path)): jnp.shape(x) for path, x in like.items()}
        found = {path: jnp.shape(x) for path, x in flatten_dict(given).items()}
        if wrong := sorted(".".join(path) for path, _ in shapes.items() ^ found.items()):
            raise ValueError(
                f"these {kind} are of another module than {type(module).__name__}, whose "
                f"{', '.join(dict.fromkeys(wrong))} are missing or have other shapes: make it "
                f"with the arguments that from_nnx was given"
            )
        arrays |= _flat(given, like)
    nnx.update(module, nnx.State(unflatten_dict(arrays)))
    return module


def _split(module: Any) -> tuple[Any, Flat, Flat, Flat]:
    """The structure; then parameters, random streams and all other arrays by path."""
    from flax import nnx

    graph, *states = nnx.split(module, nnx.Param, nnx.RngState, nnx.Intermediate, ...)
    params, streams, _, stats = (flatten_dict(nnx.to_pure_dict(state)) for state in states)
    return graph, params, streams, stats


def _options(module: Any) -> list[str]:
    """What the module wants to know beside its input."""
    parameters = inspect.signature(type(module).__call__).parameters
    return [name for name in ("train", "rngs") if name in parameters]


def _streams(like: Flat, key: Array) -> Flat:
    """Random streams that start from `key`, no two of them alike."""

    def start(number: int, path: tuple, shape: jax.ShapeDtypeStruct) -> Array:
        if path[-1] != "key":
            return jnp.zeros(shape.shape, shape.dtype)  # the count of draws
        own = jax.random.fold_in(key, number)
        return jax.random.split(own, shape.shape) if shape.shape else own

    return {path: start(i, path, shape) for i, (path, shape) in enumerate(like.items())}


def _nested(flat: Flat) -> PyTree:
    """A dict of dicts by name, of arrays without weak types; layers of a list by number."""
    named = {tuple(map(str, path)): x for path, x in flat.items()}
    return unflatten_dict(factory.without_weak_types(named))


def _flat(nested: PyTree, like: Flat) -> Flat:
    flat = flatten_dict(nested)
    return {path: flat[tuple(map(str, path))] for path in like}
