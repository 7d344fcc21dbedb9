"""Losses on scores; penalties on the critic itself are in `wgan_jax.penalties`."""

from wgan_jax.objectives.base import Objective
from wgan_jax.objectives.wasserstein import Wasserstein

__all__ = ["Objective", "Wasserstein"]
