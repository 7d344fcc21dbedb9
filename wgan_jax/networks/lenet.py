"""Small image classifier whose last hidden layer provides features."""

from __future__ import annotations

import flax.linen as nn

from wgan_jax.networks.convolution import Conv
from wgan_jax.types import Array

_FILTERS, _UNITS, _FEATURES = (16, 32), 120, 84


class LeNet(nn.Module):
    """Images [batch, h, w, channels] in [-1, 1] to features [batch, 84] and logits.

    Two 4x4 convolutions of stride 2 with 16 and 32 filters, then 120 and 84 units, all
    with ReLU. The features are the last 84.

    Raises:
      ValueError: `classes` is below 2, or images are smaller than 4 x 4.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> network = LeNet(classes=10)
      >>> x = jnp.ones((2, 28, 28, 1))
      >>> features, logits = network.apply(network.init(jax.random.key(0), x), x)
      >>> features.shape, logits.shape
      ((2, 84), (2, 10))

    References:
      LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied to document
      recognition, 1998, section II B; here with strides instead of averages, more
      filters, and ReLU.
    """

    classes: int = 10
    """Number of classes to distinguish."""

    @nn.compact
    def __call__(self, x: Array) -> tuple[Array, Array]:
        if self.classes < 2 or x.ndim != 4 or min(x.shape[1:3]) < 4:
            raise ValueError(
                f"LeNet takes images [batch, h, w, channels] of at least 4 x 4 and 2 classes, got "
                f"{x.shape} and {self.classes}"
            )
        for filters in _FILTERS:
            x = nn.relu(Conv(filters, use_bias=True)(x))
        x = nn.relu(nn.Dense(_UNITS)(x.reshape(len(x), -1)))
        features = nn.relu(nn.Dense(_FEATURES)(x))
        return features, nn.Dense(self.classes)(features)
