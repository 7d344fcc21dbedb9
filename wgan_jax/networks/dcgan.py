"""DCGAN, the networks of the WGAN paper, for images in NHWC order."""

from __future__ import annotations

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp

from wgan_jax.networks.conditional import concat_condition, condition_projection, split_condition
from wgan_jax.networks.convolution import Conv, ConvTranspose
from wgan_jax.networks.normalization import Norm, normalize
from wgan_jax.networks.sizes import ImageSize, halvings
from wgan_jax.networks.spectral import maybe_spectral_norm
from wgan_jax.types import Array, PyTree

_init = nn.initializers.normal(0.02)


def stage_filters(image_size: ImageSize, filters: int, constant: bool) -> tuple[int, ...]:
    """Return the filters at sizes `image_size / 2`, `/ 4`, ..., in the order of the critic.

    Example:
      >>> stage_filters(64, 64, constant=False)
      (64, 128, 256, 512)

    Raises:
      ValueError: `image_size` is not a multiple of 4, or `filters` < 1.
    """
    stages = halvings(image_size).times
    if filters < 1:
        raise ValueError(f"filters must be at least 1, got {filters}")
    return tuple(filters * (1 if constant else 2**stage) for stage in range(stages))


class DCGANGenerator(nn.Module):
    """Latents [batch, dim] to images [batch, height, width, channels] in [-1, 1].

    A linear map to 4x4 (more precisely, the image size halved while it stays at 4 pixels
    or more: 6x6 for 48 pixels), then transposed convolutions that double the size,
    each with batch norm and ReLU; the last ends in tanh. No biases. At 64
    pixels and 3 channels: 3,576,704 parameters, or 302,080 with `norm="none"`
    and `constant_filters=True`, the weakened generator of the paper's figure 6.
    With `num_classes` it maps (noise, label) to (image, label).

    Raises:
      ValueError: `image_size` is not a multiple of 4, or a conditional
        generator gets no labels.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> generator = DCGANGenerator(image_size=32, channels=1, filters=8)
      >>> z = jnp.ones((2, 100))
      >>> variables = generator.init(jax.random.key(0), z)
      >>> generator.apply(variables, z, train=False).shape
      (2, 32, 32, 1)

    References:
      Radford, Metz and Chintala, 2015; sizes and initialization of
      martinarjovsky/WassersteinGAN, models/dcgan.py.
    """

    image_size: ImageSize = 64
    """Height and width of the images in pixels, or one number for both: multiples of 4."""
    channels: int = 3
    """Channels of the images: 1 or 3."""
    filters: int = 64
    """Filters at the largest size, doubled at each halving."""
    constant_filters: bool = False
    """Keep the same number of filters at every size."""
    norm: Norm = "batch"
    """Normalization of the hidden layers."""
    extra_layers: int = 0
    """Number of 3x3 convolutions before the last layer."""
    num_classes: int = 0
    """Number of classes to condition on, with data of pairs (image, label); 0 for none."""
    condition_dim: int = 0
    """Dimension of a condition vector, with data of pairs (image, vector); 0 for none."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; weights stay float32."""

    @nn.compact
    def __call__(self, z: PyTree, train: bool = True) -> PyTree:
        first, *hidden = reversed(
            stage_filters(self.image_size, self.filters, self.constant_filters)
        )
        dtype = jnp.dtype(self.dtype)

        def activate(x: Array) -> Array:
            return nn.relu(normalize(x, self.norm, train=train, dtype=dtype))

        z, condition = split_condition(z, self.num_classes, self.condition_dim, "DCGANGenerator")
        x = concat_condition(z.reshape(z.shape[0], -1), condition, self.num_classes)
        plan = halvings(self.image_size)
        x = nn.Dense(plan.area * first, use_bias=False, kernel_init=_init, dtype=dtype)(x)
        x = activate(x.reshape(-1, *plan.smallest, first))
        for width in hidden:
            x = activate(ConvTranspose(width, dtype=dtype, kernel_init=_init)(x))
        for _ in range(self.extra_layers):
            same = Conv(self.filters, window=3, stride=1, dtype=dtype, kernel_init=_init)
            x = activate(same(x))
        x = ConvTranspose(self.channels, dtype=dtype, kernel_init=_init)(x)
        image = jnp.tanh(x).astype(jnp.float32)
        return image if condition is None else (image, condition)


class DCGANCritic(nn.Module):
    """Images [batch, height, width, channels] to scores [batch].

    Convolutions that halve the size, each with leaky ReLU 0.2 and, after the
    first, batch norm; then a linear map from 4x4, or the size the generator starts from, to
    the score. No biases, no sigmoid. At 64 pixels and 3 channels: 2,765,568 parameters. With
    `num_classes` it takes (image, label) and projects the label.

    Raises:
      ValueError: `image_size` is not a multiple of 4, the images have
        another shape, a conditional critic gets no labels, or `dropout`
        is not in [0, 1).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> critic = DCGANCritic(image_size=32, channels=1, filters=8)
      >>> x = jnp.ones((2, 32, 32, 1))
      >>> variables = critic.init(jax.random.key(0), x)
      >>> critic.apply(variables, x, train=False).shape
      (2,)

    References:
      As for `DCGANGenerator`.
    """

    image_size: ImageSize = 64
    """Height and width of the images in pixels, or one number for both: multiples of 4."""
    channels: int = 3
    """Channels of the images: 1 or 3."""
    filters: int = 64
    """Filters at the largest size, doubled at each halving."""
    constant_filters: bool = False
    """Keep the same number of filters at every size."""
    norm: Norm = "batch"
    """Normalization of the hidden layers; a penalty needs layer or none."""
    extra_layers: int = 0
    """Number of 3x3 convolutions after the first layer."""
    num_classes: int = 0
    """Number of classes to condition on, with data of pairs (image, label); 0 for none."""
    condition_dim: int = 0
    """Dimension of a condition vector, with data of pairs (image, vector); 0 for none."""
    dropout: float = 0.0
    """Probability of dropping a hidden unit in training."""
    spectral_norm: bool = False
    """Divide each weight by its largest singular value."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; weights stay float32."""

    @nn.compact
    def __call__(self, x: PyTree, train: bool = True) -> Array:
        first, *hidden = stage_filters(self.image_size, self.filters, self.constant_filters)
        x, condition = split_condition(x, self.num_classes, self.condition_dim, "DCGANCritic")
        expected = (*halvings(self.image_size).sides, self.channels)
        if x.shape[1:] != expected:
            raise ValueError(f"DCGANCritic takes images {expected}, got {x.shape[1:]}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        dtype = jnp.dtype(self.dtype)

        def convolve(x: Array, width: int, **shape) -> Array:
            layer = Conv(width, dtype=dtype, kernel_init=_init, **shape)
            return maybe_spectral_norm(layer, self.spectral_norm, train=train)(x)

        def activate(x: Array) -> Array:
            x = nn.leaky_relu(normalize(x, self.norm, train=train, dtype=dtype), 0.2)
            return nn.Dropout(self.dropout, deterministic=not train)(x)

        x = nn.leaky_relu(convolve(x, first), 0.2)
        for _ in range(self.extra_layers):
            x = activate(convolve(x, self.filters, window=3, stride=1))
        for width in hidden:
            x = activate(convolve(x, width))
        x = x.reshape(x.shape[0], -1)
        linear = nn.Dense(1, use_bias=False, kernel_init=_init, dtype=dtype)
        score = maybe_spectral_norm(linear, self.spectral_norm, train=train)(x)
        score = score + condition_projection(
            x, condition, self.num_classes, spectral_norm=self.spectral_norm, train=train
        )
        return score[:, 0].astype(jnp.float32)
