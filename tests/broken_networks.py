"""The parts from which the broken networks of test_broken_networks.py are built."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from wgan_jax import Network, toy

REAL = toy.Ring()(jax.random.key(3), 4)


class Fault(NamedTuple):
    """A broken network.

    Attributes:
      what: what is wrong with it, in words.
      property: the property that fails; empty if none does.
      says: the part of the message that names the cause.
      network: the network that has the fault.
      x: a batch for it.
      options: options of the check.
    """

    what: str
    property: str
    says: str
    network: Network
    x: Any = REAL
    options: dict[str, Any] = {}  # noqa: RUF012


def init(key, x):
    """Two weights, and a statistic that counts training steps."""
    return {"w": jax.random.normal(key, x.shape[1:])}, {"seen": jnp.zeros((), jnp.int32)}


def scores(params, x):
    return jnp.tanh(x) @ params["w"]


def critic(apply):
    """A network whose apply is `apply(params, x, train, key)`; its statistics count steps."""

    def apply_(params, stats, x, *, train, key=None):
        return apply(params, x, train, key), {"seen": stats["seen"] + 1} if train else stats

    return Network(init, apply_)


def with_init(init_, stats=None):
    """A critic whose init is broken."""

    def apply(params, stats, x, *, train, key=None):
        return scores(params, x), stats

    return Network(init_, apply)


def with_apply(apply):
    """A critic that mishandles its statistics."""
    return Network(init, apply)


def dropout(x, key):
    return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0.0)
