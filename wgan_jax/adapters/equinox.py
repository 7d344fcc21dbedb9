"""Equinox: arrays are split from the program, which is mapped over the batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from wgan_jax.adapters import factory
from wgan_jax.types import Array, Network, PyTree


def from_equinox(
    make: Callable[..., Any], *args: Any, axis_name: str = "batch", **kwargs: Any
) -> Network:
    """An Equinox module, written for one sample, as a `Network` for batches.

    Its arrays of floats are `params`. `stats` are its other arrays and, if it has stateful
    layers, what its `eqx.nn.State` holds. It is called under `jax.vmap` as `module(x)`;
    with `state=...` where it is stateful, and then returns `(y, state)`; with a `key=...`
    for each sample where its `__call__` takes one, None if none was given. Inference
    sets `eqx.nn.inference_mode`. Layers that share arrays do so by `eqx.nn.Shared`.

    Args:
      make: the class of the module, or a function that makes one, or one with its state,
        called as `make(*args, key=key, **kwargs)`; without `key` where it takes none.
      *args: arguments of `make`.
      axis_name: what `eqx.nn.BatchNorm` calls the axis of the batch.
      **kwargs: further arguments of `make`.

    Returns:
      The `Network`. `params` and `stats` are dicts of arrays by attribute.

    Raises:
      ImportError: equinox is not installed.
      ValueError: `make` is a module, or makes something else or from outside, or draws
        from keys of its own; two layers hold the same array. When applied: `key` is
        missing where the module draws, or `axis_name` is another one.

    Example:
      >>> import equinox as eqx, jax, jax.numpy as jnp
      >>> critic = from_equinox(eqx.nn.MLP, 2, "scalar", width_size=8, depth=1)
      >>> params, stats = critic.init(jax.random.key(0), jnp.ones((4, 2)))
      >>> params["layers"]["0"]["weight"].shape
      (8, 2)
      >>> critic.apply(params, stats, jnp.ones((4, 2)), train=True)[0].shape
      (4,)
    """
    try:
        import equinox as eqx
    except ModuleNotFoundError as error:
        raise ImportError("from_equinox needs equinox: pip install equinox") from error

    if isinstance(make, eqx.Module) and jax.tree.leaves(eqx.filter(make, eqx.is_array)):
        raise factory.not_a_factory("from_equinox", make, "key")
    build = factory.bind_key("from_equinox", make, args, kwargs, "key")

    def new(key: Array) -> Any:
        """A module, or a pair of a module and its state."""
        made = build(key)
        if not isinstance(made[0] if has_state(made) else made, eqx.Module):
            raise factory.not_a_module("from_equinox", make, made, "an eqx.Module")
        return made

    def has_state(made: Any) -> bool:
        return isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], eqx.nn.State)

    def split(made: Any) -> tuple[Any, PyTree, dict[str, PyTree]]:
        """The program, the parameters and the statistics."""
        module, state = made if has_state(made) else eqx.nn.make_with_state(lambda: made)()
        params, rest = eqx.partition(module, eqx.is_inexact_array)
        arrays, program = eqx.partition(rest, eqx.is_array)
        return program, params, {"arrays": arrays, "state": state}

    # The program holds no arrays, so one trace tells it for all keys.
    programs: list[Any] = []

    def look(key: Array, other_key: Array) -> tuple[PyTree, PyTree]:
        made = new(key)
        _check_layers(make, made, new(other_key), eqx)
        program, params, stats = split(made)
        _check_shared(params)
        programs.append(program)
        return params, stats

    params_like, stats_like = factory.trace("from_equinox", make, "key", look)
    program = programs[0]
    name = type(program).__name__
    parameters = inspect.signature(type(program).__call__).parameters
    takes_key, takes_state = "key" in parameters, _takes_state(parameters, stats_like)

    def init(key: Array, x: PyTree) -> tuple[PyTree, PyTree]:
        _, params, stats = split(new(key))
        return _nested(params), _nested(stats)

    def apply(params: PyTree, stats: PyTree, x: PyTree, *, train: bool, key: Array | None = None):
        fixed = _like(stats, stats_like)
        module = eqx.combine(_like(params, params_like), fixed["arrays"], program)
        module = module if train else eqx.nn.inference_mode(module)

        def of_one(x: PyTree, state: Any, key: Array | None) -> tuple[PyTree, Any]:
            given = {"key": key} if takes_key else {}
            return module(x, state=state, **given) if takes_state else (module(x, **given), state)

        def of_batch(key: Array | None) -> tuple[PyTree, Any]:
            mapped = jax.vmap(of_one, (0, None, 0), (0, None), axis_name=axis_name)
            if key is not None and takes_key:
                keys = jax.random.split(key, jax.tree.leaves(x)[0].shape[0])
                return mapped(x, _like(stats, stats_like)["state"], keys)
            return mapped(x, _like(stats, stats_like)["state"], None)

        try:
            y, state = of_batch(key)
        except NameError as error:
            if "axis name" not in str(error):
                raise
            raise ValueError(
                f"{name} is mapped over the axis {axis_name!r} of the batch, but asks for another "
                f"one: {error} Say from_equinox(..., axis_name=...) as its batch norm does"
            ) from error
        except Exception as error:
            if key is None and takes_key and _runs(of_batch, jax.random.key(0)):
                raise ValueError(
                    f"{name} draws random numbers with train={train}, as dropout does in "
                    f"training, and needs a key: apply(..., train={train}, key=key)"
                ) from error
            raise
        return y, _nested(fixed | {"state": state}) if train else stats

    return Network(init, apply)


def _takes_state(parameters: Mapping[str, inspect.Parameter], stats_like: PyTree) -> bool:
    """Is the module called with a state? `Sequential` takes one and can do without."""
    is_stateful = bool(jax.tree.leaves(stats_like["state"]))
    if is_stateful and "state" not in parameters:
        raise ValueError(
            "from_equinox: the module has stateful layers, but its __call__ takes no `state`; "
            "write __call__(self, x, state) and return (y, state)"
        )
    optional = "state" in parameters and parameters["state"].default is not inspect.Parameter.empty
    return is_stateful or ("state" in parameters and not optional)


def _check_layers(make: Callable[..., Any], module: Any, other: Any, eqx: ModuleType) -> None:
    """Refuse layers with weights that do not come from the key."""

    def layers(module: Any) -> dict[int, Any]:
        found = {}

        def note(node: Any) -> bool:
            if isinstance(node, eqx.Module) and jax.tree.leaves(
                eqx.filter(node, eqx.is_inexact_array)
            ):
                found[id(node)] = node
            return False

        jax.tree.leaves(module, is_leaf=note)
        return found

    ours, theirs = layers(module), layers(other)
    for same in ours.keys() & theirs.keys():
        what = f"a layer, {type(ours[same]).__name__},"
        raise factory.made_outside("from_equinox", make, what, "key")


def _check_shared(params: PyTree) -> None:
    """Refuse one array in two places: Equinox would train two."""
    places: dict[int, str] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        place = jax.tree_util.keystr(path)
        if isinstance(leaf, jax.core.Tracer) and id(leaf) in places:
            raise ValueError(
                f"from_equinox: {places[id(leaf)]} and {place} hold the same array and would be "
                f"trained apart; tie them by eqx.nn.Shared, or make two arrays"
            )
        places[id(leaf)] = place


def _runs(function: Callable[..., Any], *args: Any) -> bool:
    try:
        jax.eval_shape(function, *args)
    except Exception:
        return False
    return True


def _nested(tree: PyTree) -> PyTree:
    """A dict of dicts by name, of arrays without weak types; layers of a list by number."""
    return unflatten_dict(factory.without_weak_types(_flat(tree)))


def _like(nested: PyTree, like: PyTree) -> PyTree:
    """The arrays of a dict of dicts in their places in a tree."""
    flat = flatten_dict(nested)
    return jax.tree.unflatten(jax.tree.structure(like), [flat[path] for path in _flat(like)])


def _flat(tree: PyTree) -> dict[tuple[str, ...], Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        tuple(jax.tree_util.keystr((entry,), simple=True) for entry in path): leaf
        for path, leaf in leaves
    }
