"""Certified upper bounds of the Lipschitz constant of a critic.

A critic is written as a chain of layers; each layer offers bounds that are
proved from its weights, never estimated from below, and the least product wins.
"""

from wgan_jax.lipschitz.architectures import lipschitz_bound
from wgan_jax.lipschitz.layers import (
    Bounded,
    Convolution,
    Linear,
    LipschitzBound,
    Scale,
    Sum,
    bound_of_layers,
)
from wgan_jax.lipschitz.norms import gram_norm

__all__ = [
    "Bounded",
    "Convolution",
    "Linear",
    "LipschitzBound",
    "Scale",
    "Sum",
    "bound_of_layers",
    "gram_norm",
    "lipschitz_bound",
]
