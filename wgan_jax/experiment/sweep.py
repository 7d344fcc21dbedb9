"""The members of a sweep: runs with different seeds and hyperparameters."""

from __future__ import annotations

import dataclasses
import itertools
import operator
from collections.abc import Mapping
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.experiment.build import build_gan
from wgan_jax.experiment.config import Config, Sweep
from wgan_jax.population import each_member
from wgan_jax.types import Array, GANState, PyTree

_RATES = ("generator_optimizer.learning_rate", "critic_optimizer.learning_rate")
# Config fields that each list of a sweep sets.
_FIELDS = {
    "learning_rates": _RATES,
    "generator_learning_rates": _RATES[:1],
    "critic_learning_rates": _RATES[1:],
    "clip_values": ("clip.c",),
    "penalty_weights": ("penalty.weight",),
}


def grid(config: Config) -> list[dict[str, float]]:
    """Returns all combinations of the listed hyperparameters, by dotted name.

    Raises:
      UserError: a list sets a field that the config does not have.
    """
    sweep = config.sweep or Sweep(seeds=1)
    grids = []
    for field, names in _FIELDS.items():
        values = getattr(sweep, field)
        for name in names if values else ():
            part, attribute = name.split(".")
            if not hasattr(getattr(config, part), attribute):
                raise UserError(f"sweep.{field} sets {name}, which this config does not have")
        if values:
            grids.append([dict.fromkeys(names, value) for value in values])
    return [
        {name: value for values in picked for name, value in values.items()}
        for picked in itertools.product(*grids)
    ]


def members(config: Config) -> list[Config]:
    """Returns the config of each member, ordered by combination and then by seed."""
    seeds = config.sweep.seeds if config.sweep else 1
    return [
        dataclasses.replace(with_values(config, values), sweep=None, seed=config.seed + i)
        for values in grid(config)
        for i in range(seeds)
    ]


def member_config(config: Config, k: int | None) -> Config:
    """Returns the config of member `k`; a config without a sweep is returned unchanged.

    Raises:
      UserError: there is no such member, none was chosen, or this is not a sweep.
    """
    if config.sweep is None:
        if k is None:
            return config
        raise UserError("this is a single run, not a sweep: leave --member out")
    runs = members(config)
    if k is None or not k < len(runs):
        raise UserError(
            f"this is a sweep of {len(runs)} runs: choose one with --member 0 to {len(runs) - 1}"
        )
    return runs[k]


def init(config: Config, keys: Array, hypers: PyTree, real: PyTree) -> GANState:
    """Initializes the states of all members; every leaf has a leading axis [m]."""

    def init_member(member: tuple[Array, PyTree], real: PyTree) -> GANState:
        return build_gan(with_values(config, member[1])).init(member[0], real)

    return each_member(init_member, (keys, hypers), real)


def abstract_state(config: Config, real: PyTree) -> GANState:
    """Returns shapes and dtypes of the state of a run, or of the states of a sweep."""
    if config.sweep is None:
        return jax.eval_shape(build_gan(config).init, jax.random.key(config.seed), real)
    return jax.eval_shape(partial(init, config), *stack_members(config), real)


def member_state(states: GANState, k: int) -> GANState:
    return jax.tree.map(lambda x: x[k], states._replace(key=jax.random.clone(states.key)))


def varied_hyperparameters(config: Config) -> list[dict[str, Any]]:
    """Returns the seed and varied hyperparameters of each member, by dotted name."""
    varied = {name: operator.attrgetter(name) for name in grid(config)[0]}
    return [
        {"seed": member.seed} | {name: value_of(member) for name, value_of in varied.items()}
        for member in members(config)
    ]


def stack_members(config: Config) -> tuple[Array, dict[str, Array]]:
    """Returns the root keys [m] and hyperparameters, each [m], of all members."""
    runs = members(config)
    keys = jnp.stack([jax.random.key(member.seed) for member in runs])
    hypers = {
        name: jnp.asarray(np.array([*map(operator.attrgetter(name), runs)], np.float32))
        for name in grid(config)[0]
    }
    return keys, hypers


def with_values(config: Config, values: Mapping[str, Any]) -> Config:
    """Returns the config with new values at dotted names; the values may be traced.

    Example:
      >>> from wgan_jax.experiment.config import Config
      >>> with_values(Config(), {"clip.c": 0.1}).clip.c
      0.1
    """
    for name, value in values.items():
        part, attribute = name.split(".")
        node = dataclasses.replace(getattr(config, part), **{attribute: value})
        changed: dict[str, Any] = {part: node}
        config = dataclasses.replace(config, **changed)
    return config
