"""Certified upper bounds of the Lipschitz constant of a critic.

A critic is described as a chain of layers. Each layer has bounds that follow from
its weights, never from sampled slopes; the smallest product is the result.
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
