"""Penalties: terms of the critic's loss that depend on the critic as a function, one per file."""

from wgan_jax.penalties.base import Penalty
from wgan_jax.penalties.consistency import Consistency
from wgan_jax.penalties.divergence import DivergencePenalty
from wgan_jax.penalties.dragan import DRAGAN
from wgan_jax.penalties.gradient import GradientPenalty
from wgan_jax.penalties.lipschitz import LipschitzPenalty
from wgan_jax.penalties.zero_centered import ZeroCentered

__all__ = [
    "DRAGAN",
    "Consistency",
    "DivergencePenalty",
    "GradientPenalty",
    "LipschitzPenalty",
    "Penalty",
    "ZeroCentered",
]
