"""The types that every other file speaks: networks, players and states."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax

Array = jax.Array
PyTree = Any
Scalar = Array
Metrics = dict[str, Array]


class Network(NamedTuple):
    """A network as a pair of pure functions.

    Anything that can be written like this can be trained: Linen, NNX and Equinox
    through `from_linen`, `from_nnx` and `from_equinox`, or plain functions.

    Attributes:
      init: `(key, x) -> (params, stats)`. `params` are trained; `stats` are
        carried along without a gradient (running statistics), `{}` if there
        are none.
      apply: `(params, stats, x, *, train, key=None) -> (y, stats)`. `train`
        chooses batch statistics over running ones; `key` feeds dropout.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> linear = Network(
      ...     init=lambda key, x: ({"w": jnp.zeros(x.shape[-1])}, {}),
      ...     apply=lambda params, stats, x, *, train, key=None: (
      ...         x @ params["w"], stats),
      ... )
      >>> params, stats = linear.init(jax.random.key(0), jnp.ones((4, 2)))
      >>> linear.apply(params, stats, jnp.ones((4, 2)), train=True)[0].shape
      (4,)
    """

    init: Callable[..., tuple[PyTree, PyTree]]
    apply: Callable[..., tuple[PyTree, PyTree]]


class Player(NamedTuple):
    """One side of the game.

    Attributes:
      params: its weights.
      stats: what it carries along without a gradient, such as running statistics.
      opt_state: the state of its optimizer.
    """

    params: PyTree
    stats: PyTree
    opt_state: PyTree


class Step(NamedTuple):
    """How far a run is. `int(step)` counts generator iterations.

    The two players count apart, so that the noise of a critic update does not
    depend on how many of them share an iteration.

    Attributes:
      generator: updates of the generator, an int32 scalar.
      critic: updates of the critic.

    Example:
      >>> import jax.numpy as jnp
      >>> int(Step(generator=jnp.int32(3), critic=jnp.int32(15)))
      3
    """

    generator: Array
    critic: Array

    def __int__(self) -> int:
        return int(self.generator)

    def __index__(self) -> int:
        return int(self)


class GANState(NamedTuple):
    """Everything that a run is, as arrays: it can be scanned, vmapped, sharded and saved.

    Attributes:
      step: counts of generator and critic updates, int32 scalars.
      key: the typed root key. It never changes; draws fold in a step and a tag.
      critic: the critic's `Player`.
      generator: the generator's `Player`.
    """

    step: Step
    key: Array
    critic: Player
    generator: Player


def from_linen(module: nn.Module) -> Network:
    """A Flax Linen module as a `Network`.

    The module is called as `module(x)`, or `module(x, train=...)` where its
    `__call__` takes `train`. All collections but `params` become `stats`.
    `key`, if given, feeds the `dropout` stream.

    Args:
      module: an unbound Linen module.

    Returns:
      The `Network` of its `init` and `apply`.

    Raises:
      ValueError: `module` is not a Linen module.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp
      >>> critic = from_linen(nn.Dense(1))
      >>> params, stats = critic.init(jax.random.key(0), jnp.ones((8, 2)))
      >>> critic.apply(params, stats, jnp.ones((8, 2)), train=True)[0].shape
      (8, 1)
    """
    if isinstance(module, type) and issubclass(module, nn.Module):
        name = module.__name__
        raise ValueError(f"from_linen takes an instance, got the class {name}: give {name}(...)")
    if not isinstance(module, nn.Module):
        library = library_of(module)
        hint = f"; it is of {library[0]}: use {library[1]}" if library else ""
        raise ValueError(f"from_linen takes a flax.linen.Module, got {_name_of(module)}{hint}")
    takes_train = "train" in inspect.signature(type(module).__call__).parameters

    def mode(train: bool) -> dict[str, Any]:
        return {"train": train} if takes_train else {}

    def init(key: Array, x: PyTree) -> tuple[PyTree, PyTree]:
        params_key, dropout_key = jax.random.split(key)
        rngs = {"params": params_key, "dropout": dropout_key}
        stats = dict(module.init(rngs, x, **mode(True)))
        return stats.pop("params", {}), stats

    def apply(params: PyTree, stats: PyTree, x: PyTree, *, train: bool, key: Array | None = None):
        rngs = None if key is None else {"dropout": key}
        mutable = list(stats) if train else False
        y = module.apply({"params": params, **stats}, x, **mode(train), rngs=rngs, mutable=mutable)
        return (y[0], dict(y[1])) if train else (y, stats)

    return Network(init, apply)


def _name_of(x: Any) -> str:
    """The name of a class or function, or else that of the class of `x`."""
    return getattr(x, "__name__", None) or type(x).__name__


_ADAPTERS = {
    "flax.linen": "from_linen(module)",
    "flax.nnx": "from_nnx(Class, ...)",
    "equinox": "from_equinox(Class, ...)",
}


def library_of(x: Any) -> tuple[str, str] | None:
    """The library that a module, or a class of modules, comes from, and the adapter for it."""
    kind = x if isinstance(x, type) else type(x)
    for base in kind.__mro__:
        for library, adapter in _ADAPTERS.items():
            if f"{base.__module__}.".startswith(f"{library}."):
                return library, adapter
    return None


def check_network_type(**networks: Any) -> None:
    """Refuse what is no pair of `init` and `apply`, such as a module without its adapter.

    Raises:
      ValueError: one of them is no `Network`; the message names its adapter.

    Example:
      >>> import flax.linen as nn
      >>> check_network_type(critic=nn.Dense(1))
      Traceback (most recent call last):
      ValueError: critic is a module of flax.linen, Dense; adapt it by from_linen(module)
    """
    for role, network in networks.items():
        library, kind = library_of(network), _name_of(network)
        is_pair = hasattr(network, "init") and hasattr(network, "apply")
        if library and not (is_pair and library[0] != "flax.linen"):
            raise ValueError(
                f"{role} is a module of {library[0]}, {kind}; adapt it by {library[1]}"
            )
        if not is_pair:
            raise ValueError(
                f"{role} is no Network but a {kind}; give Network(init, apply), or "
                f"adapt a module by from_linen, from_nnx or from_equinox"
            )
