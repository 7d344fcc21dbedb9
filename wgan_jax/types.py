"""Types shared by all modules: networks, players and states."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

Array = jax.Array
PyTree = Any
Scalar = Array
Metrics = dict[str, Array]


class Network(NamedTuple):
    """A network as a pair of pure functions.

    Anything in this form can be trained: modules of Linen, NNX and Equinox through
    `from_linen`, `from_nnx` and `from_equinox`, or plain functions.

    Attributes:
      init: `(key, x) -> (params, stats)`. `params` are trained; `stats` are
        carried along without gradients (running statistics), `{}` if there
        are none.
      apply: `(params, stats, x, *, train, key=None) -> (y, stats)`. `train`
        selects batch statistics over running ones; `key` seeds dropout.

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
    """One side of the game: the critic or the generator.

    Attributes:
      params: trained weights.
      stats: variables without gradients, such as running statistics.
      opt_state: optimizer state.
    """

    params: PyTree
    stats: PyTree
    opt_state: PyTree


class Step(NamedTuple):
    """Progress of a run. `int(step)` is the number of generator iterations.

    The two players have separate counters, so that the noise of a critic update
    does not depend on how many updates share an iteration.

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
    """Complete state of a run, as arrays: it can be scanned, vmapped, sharded and saved.

    Attributes:
      step: counts of generator and critic updates, int32 scalars.
      key: the typed root key. It never changes; draws fold in a step and a purpose.
      critic: the critic's `Player`.
      generator: the generator's `Player`.
    """

    step: Step
    key: Array
    critic: Player
    generator: Player


def without_weak_types(tree: PyTree) -> PyTree:
    """Convert leaves to arrays of their dtype, as some may have come from Python numbers.

    Example:
      >>> without_weak_types({"w": jnp.full(2, 0.5), "b": 0.0})["b"].weak_type
      False
    """
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.asarray(x).dtype), tree)


def from_linen(module: nn.Module) -> Network:
    """Adapt a Flax Linen module to a `Network`.

    The module is called as `module(x)`, or `module(x, train=...)` if its `__call__`
    takes `train`; `training`, `is_training`, `deterministic` and `use_running_average`
    are set likewise. All collections except `params` become `stats`. `key`, if given,
    seeds the `dropout` stream.

    Args:
      module: an unbound Linen module.

    Returns:
      A `Network` of its `init` and `apply`.

    Raises:
      ValueError: `module` is not a Linen module, or its `__call__` takes several inputs.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp
      >>> critic = from_linen(nn.Dense(1))
      >>> params, stats = critic.init(jax.random.key(0), jnp.ones((8, 2)))
      >>> critic.apply(params, stats, jnp.ones((8, 2)), train=True)[0].shape
      (8, 1)
    """
    if isinstance(module, type) and issubclass(module, nn.Module):
        name = module.__name__
        raise ValueError(f"from_linen takes an instance, got the class {name}: pass {name}(...)")
    if not isinstance(module, nn.Module):
        library = library_of(module)
        hint = f"; it is from {library[0]}: use {library[1]}" if library else ""
        raise ValueError(f"from_linen takes a flax.linen.Module, got {_name_of(module)}{hint}")
    flags = mode_flags(module)
    check_takes_batch("from_linen", module, *flags)

    def mode(train: bool) -> dict[str, Any]:
        return {flag: value == train for flag, value in flags.items()}

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


# The usual flags of a module's call, as they are in training; the opposite in inference.
_IN_TRAINING = {
    "train": True,
    "training": True,
    "is_training": True,
    "deterministic": False,
    "use_running_average": False,
}


def mode_flags(module: Any) -> dict[str, bool]:
    """Return the flags of training or inference that a call takes, as they are in training.

    Flags that the module itself fixes, as `Dropout(0.5, deterministic=True)`, are left out.

    Example:
      >>> mode_flags(nn.Dropout(0.5))
      {'deterministic': False}
    """
    taken = inspect.signature(type(module).__call__).parameters
    return {
        flag: in_training
        for flag, in_training in _IN_TRAINING.items()
        if flag in taken and getattr(module, flag, None) is None
    }


def check_takes_batch(adapter: str, module: Any, *named: str) -> None:
    """Reject a module that cannot be called with one batch and the keywords `named`.

    Raises:
      ValueError: its `__call__` takes more than that, or less.

    Example:
      >>> class Pair(nn.Module):
      ...     def __call__(self, x, label): ...
      >>> check_takes_batch("from_linen", Pair())
      Traceback (most recent call last):
      ValueError: from_linen calls Pair with one input, but its __call__ takes (self, x, label)...
    """
    signature = inspect.signature(type(module).__call__)
    keywords = dict.fromkeys(named)
    try:
        signature.bind(module, None, **keywords)
    except TypeError:
        name, call = type(module).__name__, ", ".join(["x", *(f"{k}=..." for k in keywords)])
        raise ValueError(
            f"{adapter} calls {name} with one input, but its __call__ takes "
            f"({', '.join(signature.parameters)}): let it take several as one pair or dict, so "
            f"that it can be called as module({call})"
        ) from None


def _name_of(x: Any) -> str:
    """Return the name of a class or function, or the class name of any other `x`."""
    return getattr(x, "__name__", None) or type(x).__name__


_ADAPTERS = {
    "flax.linen": "from_linen(module)",
    "flax.nnx": "from_nnx(Class, ...)",
    "equinox": "from_equinox(Class, ...)",
}


def library_of(x: Any) -> tuple[str, str] | None:
    """Return the library of a module (or class of modules) and its adapter."""
    kind = x if isinstance(x, type) else type(x)
    for base in kind.__mro__:
        for library, adapter in _ADAPTERS.items():
            if f"{base.__module__}.".startswith(f"{library}."):
                return library, adapter
    return None


def check_network_type(**networks: Any) -> None:
    """Reject anything but a pair of `init` and `apply`, such as a module without an adapter.

    Raises:
      ValueError: an argument is not a `Network`; the message names its adapter.

    Example:
      >>> import flax.linen as nn
      >>> check_network_type(critic=nn.Dense(1))
      Traceback (most recent call last):
      ValueError: critic is a module of flax.linen, Dense; adapt it with from_linen(module)
    """
    for role, network in networks.items():
        library, kind = library_of(network), _name_of(network)
        is_pair = hasattr(network, "init") and hasattr(network, "apply")
        if library and not (is_pair and library[0] != "flax.linen"):
            raise ValueError(
                f"{role} is a module of {library[0]}, {kind}; adapt it with {library[1]}"
            )
        if not is_pair:
            raise ValueError(
                f"{role} is not a Network but a {kind}; pass Network(init, apply), or "
                f"adapt a module with from_linen, from_nnx or from_equinox"
            )
