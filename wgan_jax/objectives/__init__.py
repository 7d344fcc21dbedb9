"""Objectives: losses on scores. Penalties on the critic are in `wgan_jax.penalties`."""

from wgan_jax.objectives.base import Objective, PairedObjective, is_paired
from wgan_jax.objectives.hinge import Hinge
from wgan_jax.objectives.jensen_shannon import JensenShannon
from wgan_jax.objectives.least_squares import LeastSquares
from wgan_jax.objectives.relativistic import RelativisticPairing
from wgan_jax.objectives.wasserstein import Wasserstein

__all__ = [
    "Hinge",
    "JensenShannon",
    "LeastSquares",
    "Objective",
    "PairedObjective",
    "RelativisticPairing",
    "Wasserstein",
    "is_paired",
]
