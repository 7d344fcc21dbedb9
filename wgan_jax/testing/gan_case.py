"""A GAN under check, with the states and batches that its steps take."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp

from wgan_jax.algorithm import batch_size_of
from wgan_jax.gan import GAN
from wgan_jax.types import Array, GANState, Metrics, Player, PyTree

N_CRITIC = 2


class Case:
    """Arguments of `check_gan`, shared by its properties."""

    def __init__(
        self,
        gan: GAN,
        real: PyTree,
        clip: float | Array | None,
        clip_mask: PyTree,
        seed: int,
        rtol: float,
    ) -> None:
        self.gan, self.real = gan, jax.tree.map(jnp.asarray, real)
        self.clip, self.clip_mask = clip, clip_mask
        self.seed, self.rtol = seed, rtol
        self.batch = batch_size_of(real)
        # Some generator steps also take real samples: unrolled, paired, or those of a VAE.
        self.takes_real = len(inspect.signature(gan.generator_step).parameters) > 2

    def start(self) -> GANState:
        return self.gan.init(jax.random.key(self.seed), self.real)

    @functools.cached_property
    def _later(self) -> GANState:
        return self.gan.train_step(self.start(), self.reals())[0]

    def later(self) -> GANState:
        """Return a state after one iteration, whose optimizers have seen gradients."""
        return self._later

    def reals(self) -> PyTree:
        """Return batches [n_critic, batch, ...], which differ."""
        return jax.tree.map(
            lambda x: (
                jnp.stack([jnp.roll(x, i, 0) * (1 + i) for i in range(N_CRITIC)])
                if jnp.issubdtype(x.dtype, jnp.floating)
                else jnp.stack([jnp.roll(x, i, 0) for i in range(N_CRITIC)])
            ),
            self.real,
        )

    def generator_step(self, state: GANState, real: PyTree) -> tuple[GANState, Metrics]:
        if self.takes_real:
            return self.gan.generator_step(state, self.batch, real)
        return self.gan.generator_step(state, self.batch)

    def steps(self) -> dict[str, tuple[Callable[..., Any], Callable[[], tuple]]]:
        """Return each step as a function of arrays, with its arguments."""
        return {
            "critic_step": (self.gan.critic_step, lambda: (self.later(), self.real)),
            "generator_step": (self.generator_step, lambda: (self.later(), self.real)),
            "train_step": (self.gan.train_step, lambda: (self.later(), self.reals())),
        }


def results_nearby(
    step: Callable[..., PyTree], arguments: Callable[[], tuple]
) -> Callable[[], Iterator[PyTree]]:
    """Return a function that yields results of `step` on weights that are off by rounding.

    A bias before batch norm has a gradient of pure rounding, which Adam turns into a full step.
    """

    def results() -> Iterator[PyTree]:
        for ulps in range(1, 5):
            state, *others = arguments()
            yield step(_off_by_rounding(state, ulps), *others)

    return results


def _off_by_rounding(state: GANState, ulps: int) -> GANState:
    def nudge(x: Array) -> Array:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            return x
        signs = jnp.where(jnp.arange(x.size) // ulps % 2, 1, -1).reshape(x.shape)
        return x * (1 + ulps * jnp.finfo(x.dtype).eps * signs.astype(x.dtype))

    def nudged(player: Player) -> Player:
        return player._replace(params=jax.tree.map(nudge, player.params))

    return state._replace(generator=nudged(state.generator), critic=nudged(state.critic))
