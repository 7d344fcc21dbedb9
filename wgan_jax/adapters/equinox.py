"""Adapter of Equinox: arrays are split from the program, which is mapped over the batch."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import jax
from flax.traverse_util import flatten_dict, unflatten_dict

from wgan_jax.adapters import factory
from wgan_jax.types import Array, Network, PyTree, check_takes_batch, without_weak_types


def from_equinox(
    make: Callable[..., Any], *args: Any, axis_name: str = "batch", **kwargs: Any
) -> Network:
    """Adapt an Equinox module, written for one sample, to a `Network` for batches.

    Its floating-point arrays become `params`. Its other arrays and, if it has stateful
    layers, the contents of its `eqx.nn.State` become `stats`. It is called under `jax.vmap`
    as `module(x)`; with `state=...` if it is stateful, and then returns `(y, state)`; with a
    `key=...` per sample if its `__call__` takes one, None if none was given. Inference sets
    `eqx.nn.inference_mode`. Layers must share arrays through `eqx.nn.Shared`.

    Args:
      make: the class of the module, or a function that returns a module or a module with
        its state, called as `make(*args, key=key, **kwargs)`; without `key` if it takes none.
      *args: positional arguments of `make`.
      axis_name: name of the batch axis in `eqx.nn.BatchNorm`.
      **kwargs: keyword arguments of `make`.

    Returns:
      A `Network`. `params` and `stats` are dicts of arrays by attribute.

    Raises:
      ImportError: equinox is not installed.
      ValueError: `make` is a module, does not return one, or uses layers or keys from
        outside; two layers hold the same array; the module takes several inputs. When
        applied: `key` is missing although the module draws, or `axis_name` differs from that
        of the module.

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
        """Return a module, or a pair of a module and its state."""
        made = build(key)
        if not isinstance(made[0] if has_state(made) else made, eqx.Module):
            raise factory.not_a_module("from_equinox", make, made, "an eqx.Module")
        return made

    def has_state(made: Any) -> bool:
        return isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], eqx.nn.State)

    def split(made: Any) -> tuple[Any, PyTree, dict[str, PyTree]]:
        """Split into program, parameters and statistics."""
        module, state = made if has_state(made) else eqx.nn.make_with_state(lambda: made)()
        params, rest = eqx.partition(module, eqx.is_inexact_array)
        arrays, program = eqx.partition(rest, eqx.is_array)
        return program, params, {"arrays": arrays, "state": state}

    # The program holds no arrays, so one trace is enough for all keys.
    programs: list[Any] = []

    def inspect_module(key: Array, other_key: Array) -> tuple[PyTree, PyTree]:
        made = new(key)
        _check_layers(make, made, new(other_key), eqx)
        program, params, stats = split(made)
        _check_shared(params)
        programs.append(program)
        return params, stats

    params_like, stats_like = factory.trace("from_equinox", make, "key", inspect_module)
    program = programs[0]
    name = type(program).__name__
    parameters = inspect.signature(type(program).__call__).parameters
    takes_key, takes_state = "key" in parameters, _takes_state(parameters, stats_like)
    check_takes_batch("from_equinox", program, *["key"] * takes_key, *["state"] * takes_state)

    def init(key: Array, x: PyTree) -> tuple[PyTree, PyTree]:
        _, params, stats = split(new(key))
        return _nested(params), _nested(stats)

    def apply(params: PyTree, stats: PyTree, x: PyTree, *, train: bool, key: Array | None = None):
        fixed = _like(stats, stats_like)
        module = eqx.combine(_like(params, params_like), fixed["arrays"], program)
        module = module if train else eqx.nn.inference_mode(module)

        def call_sample(x: PyTree, state: Any, key: Array | None) -> tuple[PyTree, Any]:
            extra = {"key": key} if takes_key else {}
            return module(x, state=state, **extra) if takes_state else (module(x, **extra), state)

        def call_batch(key: Array | None) -> tuple[PyTree, Any]:
            mapped = jax.vmap(call_sample, (0, None, 0), (0, None), axis_name=axis_name)
            if key is not None and takes_key:
                keys = jax.random.split(key, jax.tree.leaves(x)[0].shape[0])
                return mapped(x, _like(stats, stats_like)["state"], keys)
            return mapped(x, _like(stats, stats_like)["state"], None)

        try:
            y, state = call_batch(key)
        except NameError as error:
            if "axis name" not in str(error):
                raise
            raise ValueError(
                f"{name} is mapped over the batch axis {axis_name!r}, but uses another one: "
                f"{error} Set from_equinox(..., axis_name=...) to the name in its batch norm"
            ) from error
        except Exception as error:
            if key is None and takes_key and _runs(call_batch, jax.random.key(0)):
                raise ValueError(
                    f"{name} draws random numbers with train={train}, as dropout does in "
                    f"training, and needs a key: apply(..., train={train}, key=key)"
                ) from error
            raise
        return y, _nested(fixed | {"state": state}) if train else stats

    return Network(init, apply)


def _takes_state(parameters: Mapping[str, inspect.Parameter], stats_like: PyTree) -> bool:
    """Return whether to call the module with a state, which is optional for `Sequential`."""
    is_stateful = bool(jax.tree.leaves(stats_like["state"]))
    if is_stateful and "state" not in parameters:
        raise ValueError(
            "from_equinox: the module has stateful layers, but its __call__ takes no `state`; "
            "write __call__(self, x, state) and return (y, state)"
        )
    optional = "state" in parameters and parameters["state"].default is not inspect.Parameter.empty
    return is_stateful or ("state" in parameters and not optional)


def _check_layers(make: Callable[..., Any], module: Any, other: Any, eqx: ModuleType) -> None:
    """Reject layers with weights that do not come from the key."""

    def layers(module: Any) -> dict[int, Any]:
        by_id = {}

        def collect(node: Any) -> bool:
            if isinstance(node, eqx.Module) and jax.tree.leaves(
                eqx.filter(node, eqx.is_inexact_array)
            ):
                by_id[id(node)] = node
            return False

        jax.tree.leaves(module, is_leaf=collect)
        return by_id

    ours, theirs = layers(module), layers(other)
    for same in ours.keys() & theirs.keys():
        what = f"a layer, {type(ours[same]).__name__},"
        raise factory.made_outside("from_equinox", make, what, "key")


def _check_shared(params: PyTree) -> None:
    """Reject one array in two places, which Equinox would train as two."""
    places: dict[int, str] = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        place = jax.tree_util.keystr(path)
        if isinstance(leaf, jax.core.Tracer) and id(leaf) in places:
            raise ValueError(
                f"from_equinox: {places[id(leaf)]} and {place} hold the same array and would be "
                f"trained separately; tie them with eqx.nn.Shared, or make two arrays"
            )
        places[id(leaf)] = place


def _runs(function: Callable[..., Any], *args: Any) -> bool:
    try:
        jax.eval_shape(function, *args)
    except Exception:
        return False
    return True


def _nested(tree: PyTree) -> PyTree:
    """Nest arrays without weak types in dicts by name; layers of a list by number."""
    return unflatten_dict(without_weak_types(_flat(tree)))


def _like(nested: PyTree, like: PyTree) -> PyTree:
    """Put the arrays of a dict of dicts back into a tree."""
    flat = flatten_dict(nested)
    return jax.tree.unflatten(jax.tree.structure(like), [flat[path] for path in _flat(like)])


def _flat(tree: PyTree) -> dict[tuple[str, ...], Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        tuple(jax.tree_util.keystr((entry,), simple=True) for entry in path): leaf
        for path, leaf in leaves
    }
