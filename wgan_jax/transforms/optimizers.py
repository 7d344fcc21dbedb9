"""Optimizers by name, with the constants of the papers' own frameworks.

Each is a frozen dataclass whose `build` returns an optax transform. Learning rates decay
over generator iterations, so a player that is updated n_critic times per iteration
passes that number as `updates_per_iteration`. If it varies, as in a warm-up,
`follow_iterations` evaluates the schedule at the iteration itself.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import optax

from wgan_jax.types import Array, PyTree

Decay = Literal["none", "linear", "cosine"]

_RMSPROP = {
    "torch": {"decay": 0.99, "eps": 1e-8, "eps_in_sqrt": False, "initial_scale": 0.0},
    "tf1": {"decay": 0.9, "eps": 1e-10, "eps_in_sqrt": True, "initial_scale": 1.0},
    "optax": {"decay": 0.9, "eps": 1e-8, "eps_in_sqrt": True, "initial_scale": 0.0},
}


def follow_iterations(tx: optax.GradientTransformation) -> optax.GradientTransformationExtraArgs:
    """Evaluate an optimizer's schedules at the generator iteration, not at its own updates.

    For a critic whose steps per iteration vary, as in a warm-up or an adaptive run: its
    learning rate then decays with the run's progress. `gan` and `vae` pass the iteration
    to every optimizer that takes it, as the extra argument `iteration` of `update`.

    Args:
      tx: an optimizer with schedules: of its learning rate, its weight decay or, through
        `optax.inject_hyperparams`, any other number. The structure of its state does not
        change. Wrap `optax.MultiSteps` too, as it does not pass the iteration on.

    Raises:
      ValueError: from `update`, if it gets no iteration.

    Example:
      >>> import jax.numpy as jnp, optax
      >>> tx = follow_iterations(optax.sgd(optax.linear_schedule(1.0, 0.0, 10)))
      >>> w = jnp.ones(())
      >>> u, state = tx.update(jnp.ones(()), tx.init(w), w, iteration=jnp.int32(5))
      >>> u.item()
      -0.5
    """

    def is_schedule(node: Any) -> bool:
        # Optax has three such states, and exports one of them.
        return getattr(node, "_fields", None) == ("count",)

    def update(
        updates: PyTree,
        state: PyTree,
        params: PyTree | None = None,
        *,
        iteration: Array | None = None,
        **extra,
    ):
        if iteration is None:
            raise ValueError(
                "follow_iterations needs the iteration: call update(..., iteration=i); "
                "optax.MultiSteps does not pass it on, so wrap that in follow_iterations"
            )

        def at_iteration(node: Any) -> Any:
            return node._replace(count=iteration) if is_schedule(node) else node

        state = jax.tree.map(at_iteration, state, is_leaf=is_schedule)
        inner = optax.with_extra_args_support(tx)
        return inner.update(updates, state, params, iteration=iteration, **extra)

    return optax.GradientTransformationExtraArgs(tx.init, update)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimizer:
    """Base class of optimizers: a learning rate and its decay."""

    learning_rate: float = 5e-5
    """Initial learning rate."""
    decay: Decay = "none"
    """Schedule of the learning rate's decay to zero over decay_iterations."""
    decay_iterations: int = 100_000
    """Generator iterations until the learning rate is zero; unused with decay none."""

    def __post_init__(self) -> None:
        if self.decay not in get_args(Decay):
            raise ValueError(f"decay must be one of {get_args(Decay)}, got {self.decay!r}")
        rate = self.learning_rate
        if isinstance(rate, int | float) and not rate >= 0:  # an array in a sweep
            raise ValueError(f"learning_rate must not be negative, got {rate}")
        if self.decay_iterations < 1:
            raise ValueError(f"decay_iterations must be at least 1, got {self.decay_iterations}")

    def schedule(self, updates_per_iteration: int) -> optax.ScalarOrSchedule:
        """Return the learning rate per update: constant, or decaying to zero."""
        updates = self.decay_iterations * updates_per_iteration
        match self.decay:
            case "linear":
                decayed = optax.linear_schedule(self.learning_rate, 0.0, updates)
            case "cosine":
                decayed = optax.cosine_decay_schedule(self.learning_rate, updates)
            case _:
                return self.learning_rate
        # optax counts in int32, which strict dtype promotion does not mix with floats.
        return lambda count: decayed(jnp.asarray(count, jnp.float32))


@dataclasses.dataclass(frozen=True, kw_only=True)
class RMSProp(Optimizer):
    """RMSProp, the paper's optimizer, with the constants of one of three frameworks.

    - torch: decay 0.99, epsilon 1e-8 outside the root, accumulator starting at 0
    - tf1: decay 0.9, epsilon 1e-10 under the root, accumulator starting at 1
    - optax: decay 0.9, epsilon 1e-8 under the root, accumulator starting at 0

    Example:
      >>> tx = RMSProp(learning_rate=5e-5, preset="torch").build()
      >>> tx.init({"w": 0.0}) is not None
      True
    """

    preset: Literal["torch", "tf1", "optax"] = "torch"
    """Framework whose constants to use; the reference code ran on torch."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.preset not in _RMSPROP:
            raise ValueError(f"preset must be one of {sorted(_RMSPROP)}, got {self.preset!r}")

    def build(self, updates_per_iteration: int = 1) -> optax.GradientTransformation:
        return optax.rmsprop(self.schedule(updates_per_iteration), **_RMSPROP[self.preset])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adam(Optimizer):
    """Adam. With clipping, keep b1 at 0: momentum makes a clipped critic unstable.

    Example:
      >>> Adam(learning_rate=1e-4).build().init({"w": 0.0}) is not None
      True
    """

    learning_rate: float = 1e-4
    """Initial learning rate."""
    b1: float = 0.0
    """Decay of the first moment."""
    b2: float = 0.9
    """Decay of the second moment."""
    eps: float = 1e-8
    """Constant added to the root of the second moment."""
    eps_root: float = 0.0
    """Constant added under the root; must be positive if the update is differentiated, as in
    unrolling."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_decay("b1", self.b1, least=-1)
        _require_decay("b2", self.b2)
        for name, value in (("eps", self.eps), ("eps_root", self.eps_root)):
            if isinstance(value, int | float) and not value >= 0:
                raise ValueError(f"{name} must not be negative, got {value}")

    def build(self, updates_per_iteration: int = 1) -> optax.GradientTransformation:
        rate = self.schedule(updates_per_iteration)
        return optax.adam(rate, b1=self.b1, b2=self.b2, eps=self.eps, eps_root=self.eps_root)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SGD(Optimizer):
    """Stochastic gradient descent, with or without momentum.

    Example:
      >>> SGD(learning_rate=0.1, momentum=0.9).build().init({"w": 0.0}) is not None
      True
    """

    learning_rate: float = 1e-3
    """Initial learning rate."""
    momentum: float = 0.0
    """Decay of the momentum; 0 for none."""
    nesterov: bool = False
    """Use Nesterov's momentum, which looks ahead."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_decay("momentum", self.momentum, least=-1)

    def build(self, updates_per_iteration: int = 1) -> optax.GradientTransformation:
        rate = self.schedule(updates_per_iteration)
        return optax.sgd(rate, momentum=self.momentum or None, nesterov=self.nesterov)


def _require_decay(name: str, decay: float, least: int = 0) -> None:
    """Refuse the decay of a moment that does not forget; -1 allows negative momentum."""
    is_number = isinstance(decay, int | float)  # a traced one has no value
    if is_number and not (least <= decay < 1 and decay != -1):
        bounds = "(-1, 1)" if least else "[0, 1)"
        raise ValueError(f"{name} must be in {bounds}, got {decay}")
