"""Multilayer perceptrons, for toys and as the paper's weakest generator."""

from __future__ import annotations

import math
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp

from wgan_jax.types import Array

_ACTIVATIONS = {"relu": nn.relu, "leaky_relu": lambda x: nn.leaky_relu(x, 0.2), "tanh": nn.tanh}


class MLP(nn.Module):
    """A multilayer perceptron over flattened inputs.

    Maps [batch, ...] to [batch, *output_shape]: scores [batch] by default, so
    that it is a critic as it stands, and a generator with the shape of a sample.

    Raises:
      ValueError: a width below 1, or an unknown activation.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> generator = MLP(features=(128, 128), output_shape=(2,))
      >>> variables = generator.init(jax.random.key(0), jnp.ones((8, 2)))
      >>> generator.apply(variables, jnp.ones((8, 2))).shape
      (8, 2)

    References:
      Three hidden layers of 512, He-uniform: the toy networks of Gulrajani et
      al., Improved Training of Wasserstein GANs, 2017.
    """

    features: tuple[int, ...] = (512, 512, 512)
    """Widths of the hidden layers."""
    output_shape: tuple[int, ...] = ()
    """Shape of one output; () gives scores."""
    activation: Literal["relu", "leaky_relu", "tanh"] = "relu"
    """Between the layers; leaky_relu has slope 0.2."""
    output_activation: Literal["tanh", "none"] = "none"
    """After the last layer: tanh bounds images to [-1, 1]."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of the computation; weights are float32."""

    @nn.compact
    def __call__(self, x: Array) -> Array:
        if min((1, *self.features, *self.output_shape)) < 1:
            raise ValueError(
                f"MLP needs positive sizes, got features={self.features} and "
                f"output_shape={self.output_shape}"
            )
        if self.activation not in _ACTIVATIONS:
            raise ValueError(
                f"unknown activation {self.activation!r}; choose from {sorted(_ACTIVATIONS)}"
            )
        dtype = jnp.dtype(self.dtype)
        he = nn.initializers.he_uniform()
        x = x.reshape(x.shape[0], -1).astype(dtype)
        for width in self.features:
            x = nn.Dense(width, kernel_init=he, dtype=dtype)(x)
            x = _ACTIVATIONS[self.activation](x)
        x = nn.Dense(math.prod(self.output_shape), dtype=dtype)(x)
        x = jnp.tanh(x) if self.output_activation == "tanh" else x
        return x.reshape(x.shape[0], *self.output_shape).astype(jnp.float32)
