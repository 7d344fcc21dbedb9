"""Multilayer perceptrons, for toy data and as the paper's weakest generator."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import flax.linen as nn
import jax.numpy as jnp

from wgan_jax.networks.conditional import (
    concat_vector,
    embed_and_concat,
    label_and_vector,
    label_projection,
    split_condition,
)
from wgan_jax.networks.normalization import Norm, normalize
from wgan_jax.networks.spectral import maybe_spectral_norm
from wgan_jax.types import Array, PyTree

_ACTIVATIONS = {"relu": nn.relu, "leaky_relu": lambda x: nn.leaky_relu(x, 0.2), "tanh": nn.tanh}


class MLP(nn.Module):
    """A multilayer perceptron over flattened inputs.

    Maps [batch, ...] to [batch, *output_shape]. By default these are scores [batch],
    as for a critic; with the shape of a sample it is a generator.
    With `num_classes` it maps (x, label) to scores, or (noise, label) to (x, label); with
    `condition_dim` it takes a vector instead of the label, or both as (label, vector).

    Raises:
      ValueError: a width is below 1, the activation is unknown, the dropout is not in
        [0, 1), or a conditional network gets no labels.

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
    """Shape of one output; () for scores."""
    activation: Literal["relu", "leaky_relu", "tanh"] = "relu"
    """Activation of the hidden layers; leaky_relu has slope 0.2."""
    output_activation: Literal["tanh", "none"] = "none"
    """Activation of the last layer; tanh bounds images to [-1, 1]."""
    num_classes: int = 0
    """Number of classes to condition on, with data of pairs (x, label); 0 for none."""
    condition_dim: int = 0
    """Dimension of a condition vector, with data of pairs (x, vector); 0 for none."""
    dropout: float = 0.0
    """Probability of dropping a hidden unit in training."""
    spectral_norm: bool = False
    """Divide each weight by its largest singular value."""
    norm: Norm = "none"
    """Normalization of the hidden layers, before their activation."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; weights stay float32."""

    @nn.compact
    def __call__(self, x: PyTree, train: bool = False) -> PyTree:
        if min((1, *self.features, *self.output_shape)) < 1:
            raise ValueError(
                f"MLP needs positive sizes, got features={self.features} and "
                f"output_shape={self.output_shape}"
            )
        if self.activation not in _ACTIVATIONS:
            raise ValueError(
                f"unknown activation {self.activation!r}; choose from {sorted(_ACTIVATIONS)}"
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        dtype = jnp.dtype(self.dtype)
        he = nn.initializers.he_uniform()
        is_critic = self.output_shape == ()

        def dense(width: int, **options) -> Callable[[Array], Array]:
            return maybe_spectral_norm(
                nn.Dense(width, dtype=dtype, **options), self.spectral_norm, train=train
            )

        x, condition = split_condition(x, self.num_classes, self.condition_dim, "MLP")
        x = x.reshape(x.shape[0], -1).astype(dtype)
        label, vector = label_and_vector(condition)
        x = x if is_critic else embed_and_concat(x, label, self.num_classes)
        x = concat_vector(x, vector)
        for width in self.features:
            x = dense(width, kernel_init=he)(x)
            x = normalize(x, self.norm, train=train, dtype=dtype)
            x = _ACTIVATIONS[self.activation](x)
            x = nn.Dropout(self.dropout, deterministic=not train)(x)
        y = dense(math.prod(self.output_shape))(x)
        y = jnp.tanh(y) if self.output_activation == "tanh" else y
        if is_critic:
            y = y + label_projection(
                x, label, self.num_classes, spectral_norm=self.spectral_norm, train=train
            )
        y = y.reshape(x.shape[0], *self.output_shape).astype(jnp.float32)
        return y if condition is None or is_critic else (y, condition)
