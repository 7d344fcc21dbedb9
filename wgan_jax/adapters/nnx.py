"""Adapter of Flax NNX: modules are split into arrays outside a call and merged inside it."""

from __future__ import annotations

from collections.abc import Callable
from inspect import signature
from typing import Any

import jax
import jax.numpy as jnp
from flax.errors import TraceContextError
from flax.traverse_util import flatten_dict, unflatten_dict

from wgan_jax.adapters import factory
from wgan_jax.types import Array, Network, PyTree, check_takes_batch, mode_flags, without_weak_types

Flat = dict[tuple[Any, ...], Any]


def from_nnx(make: Callable[..., Any], *args: Any, **kwargs: Any) -> Network:
    """Adapt a Flax NNX module to a `Network`.

    `nnx.Param` become `params`. All other arrays become `stats`: running statistics,
    caches, your own kinds of `nnx.Variable`. Random streams are neither: in each call
    they start from `key`, which may be None if nothing is drawn. Variables shared
    between layers stay shared.

    The module is called as `module(x)`, after `module.train()` or `module.eval()`; with
    `train=...` if its `__call__` takes `train` (or `training` and others, as in
    `from_linen`), and with `rngs=...` if it takes `rngs`.

    Args:
      make: the class of the module, or a function that makes one, called as
        `make(*args, rngs=nnx.Rngs(key), **kwargs)`; without `rngs` if it takes none.
      *args: positional arguments of `make`.
      **kwargs: keyword arguments of `make`.

    Returns:
      A `Network`. `params` and `stats` are dicts of arrays by attribute.

    Raises:
      ValueError: `make` is a module, does not return one, or uses layers or keys from
        outside; the module takes several inputs. When applied: `key` is missing although
        the module draws, or the module adds variables in its call.

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
        # During tracing, NNX takes a plain array for static metadata and not for data.
        for _, node in list(nnx.iter_graph(module)):
            for name, value in list(vars(node).items()) if isinstance(node, nnx.Pytree) else ():
                if isinstance(value, jax.core.Tracer):
                    setattr(node, name, nnx.data(value))
        return module

    # The structure holds no arrays, so one trace is enough for all keys.
    structure: list[Any] = []

    def inspect_module(key: Array, other_key: Array) -> list[Flat]:
        module, other = new(key), new(other_key)
        seen = {id(x) for _, x in nnx.iter_graph(other) if isinstance(x, nnx.Variable)}
        for path, node in nnx.iter_graph(module):
            if id(node) in seen:
                what = f"the variable {'.'.join(map(str, path))}"
                raise factory.made_outside("from_nnx", make, what, "rngs")
        graph, *flat = _split(module)
        flags = mode_flags(module)
        takes_rngs = "rngs" in signature(type(module).__call__).parameters
        structure[:] = graph, flags, takes_rngs
        check_takes_batch("from_nnx", module, *flags, *["rngs"] * takes_rngs)
        return flat

    params_like, streams_like, stats_like = factory.trace("from_nnx", make, "rngs", inspect_module)
    graph, flags, takes_rngs = structure

    def init(key: Array, x: PyTree) -> tuple[PyTree, PyTree]:
        _, params, _, stats = _split(new(key))
        return _nested(params), _nested(stats)

    def apply(params: PyTree, stats: PyTree, x: PyTree, *, train: bool, key: Array | None = None):
        # Without a key the streams start from a dummy key; a check below finds draws from them.
        root = jax.random.key(0) if key is None else key
        streams = _streams(streams_like, root)
        arrays = streams | _flat(params, params_like) | _flat(stats, stats_like)
        module = nnx.merge(graph, nnx.State(unflatten_dict(arrays)))
        module.train() if train else module.eval()
        options: dict[str, Any] = {flag: value == train for flag, value in flags.items()}
        if takes_rngs:
            own = None if key is None else nnx.Rngs(jax.random.fold_in(key, len(streams)))
            options["rngs"] = own
        y = module(x, **options)

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
                f"make them in its __init__, so that the state has the same arrays after each step"
            )
        return y, _nested(after) if train else stats

    return Network(init, apply)


def to_nnx(module: Any, params: PyTree, stats: PyTree) -> Any:
    """Put the weights of a state into a Flax NNX module, for use outside this package.

    Args:
      module: made as `from_nnx` makes it; its arrays are replaced in place.
      params: parameters of the network from `from_nnx`, such as `state.generator.params`.
      stats: its statistics, such as `state.generator.stats`.

    Returns:
      The module.

    Raises:
      ValueError: the arrays do not match the module.

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
        listed = {path: jnp.shape(x) for path, x in flatten_dict(given).items()}
        if wrong := sorted(".".join(path) for path, _ in shapes.items() ^ listed.items()):
            raise ValueError(
                f"these {kind} are of another module than {type(module).__name__}, whose "
                f"{', '.join(dict.fromkeys(wrong))} are missing or have other shapes: make it "
                f"with the arguments passed to from_nnx"
            )
        arrays |= _flat(given, like)
    nnx.update(module, nnx.State(unflatten_dict(arrays)))
    return module


def _split(module: Any) -> tuple[Any, Flat, Flat, Flat]:
    """Split into structure, parameters, random streams and all other arrays by path."""
    from flax import nnx

    graph, *states = nnx.split(module, nnx.Param, nnx.RngState, nnx.Intermediate, ...)
    params, streams, _, stats = (flatten_dict(nnx.to_pure_dict(state)) for state in states)
    return graph, params, streams, stats


def _streams(like: Flat, key: Array) -> Flat:
    """Start the random streams from `key`, each from a different one."""

    def start(number: int, path: tuple, shape: jax.ShapeDtypeStruct) -> Array:
        if path[-1] != "key":
            return jnp.zeros(shape.shape, shape.dtype)  # the number of draws
        own = jax.random.fold_in(key, number)
        return jax.random.split(own, shape.shape) if shape.shape else own

    return {path: start(i, path, shape) for i, (path, shape) in enumerate(like.items())}


def _nested(flat: Flat) -> PyTree:
    """Nest arrays without weak types in dicts by name; layers of a list by number."""
    named = {tuple(map(str, path)): x for path, x in flat.items()}
    return unflatten_dict(without_weak_types(named))


def _flat(nested: PyTree, like: Flat) -> Flat:
    flat = flatten_dict(nested)
    return {path: flat[tuple(map(str, path))] for path in like}
