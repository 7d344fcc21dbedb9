"""The residual networks of WGAN-GP, for images in NHWC order."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax.numpy as jnp

from wgan_jax.networks.conditional import concat_condition, condition_projection, split_condition
from wgan_jax.networks.convolution import Conv
from wgan_jax.networks.normalization import Norm, normalize
from wgan_jax.networks.sizes import (
    Halvings,
    ImageSize,
    halvings,
    residual_halvings,
    residual_widths,
)
from wgan_jax.networks.spectral import maybe_spectral_norm
from wgan_jax.types import Array, PyTree

Resample = Literal["up", "down", "none"]

_he = nn.initializers.he_uniform()
_lecun = nn.initializers.lecun_normal()


class ResidualBlock(nn.Module):
    """norm, ReLU, 3x3, norm, ReLU, 3x3, plus a shortcut; images [n, h, w, c].

    `up` doubles the size before the first convolution by repeating pixels,
    `down` halves it after the second by averaging them. The shortcut is a 1x1
    convolution if the shape changes. The first block of a critic below 64
    pixels (`first`) takes the image itself: no norms, and no ReLU before it.
    """

    features: int
    resample: Resample = "none"
    norm: Norm = "layer"
    first: bool = False
    spectral_norm: bool = False
    dtype: Any = None

    @nn.compact
    def __call__(self, x: Array, train: bool = True) -> Array:
        channels = x.shape[-1]

        def convolve(x: Array, width: int, window: int, init: nn.initializers.Initializer) -> Array:
            padding = (window - 1) // 2
            layer = Conv(width, window, 1, padding, True, self.dtype, init)
            return maybe_spectral_norm(layer, self.spectral_norm, train=train)(x)

        def activate(x: Array) -> Array:
            kind = "none" if self.first else self.norm
            return nn.relu(normalize(x, kind, train=train, dtype=self.dtype))

        middle = channels if self.resample == "down" and not self.first else self.features
        y = x if self.first else activate(x)
        y = _double(y) if self.resample == "up" else y
        y = convolve(y, middle, 3, _he)
        y = convolve(activate(y), self.features, 3, _he)
        y = _halve(y) if self.resample == "down" else y

        # Averaging and repeating pixels commute with a 1x1 convolution: use the smaller size.
        shortcut = _halve(x) if self.resample == "down" else x
        if self.resample != "none" or channels != self.features:
            shortcut = convolve(shortcut, self.features, 1, _lecun)
        return y + (_double(shortcut) if self.resample == "up" else shortcut)


class ResNetGenerator(nn.Module):
    """Latents [batch, dim] to images [batch, height, width, channels] in [-1, 1].

    A linear map to 4x4 (6x6 for 48 pixels), then a residual block per doubling, with
    `filters` below 64 pixels, and with 8, 4, 2 and 1 times `filters` at 64; then norm, ReLU, a
    3x3 convolution and tanh. The paper has 32 and 64 pixels.
    With `num_classes` it maps (noise, label) to (image, label).

    Raises:
      ValueError: `image_size` is not a multiple of 4, or a conditional
        generator gets no labels.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> generator = ResNetGenerator(image_size=32, filters=4)
      >>> z = jnp.ones((2, 8))
      >>> variables = generator.init(jax.random.key(0), z)
      >>> generator.apply(variables, z, train=False).shape
      (2, 32, 32, 3)

    References:
      Gulrajani et al., Improved Training of Wasserstein GANs, 2017, appendix F;
      igul222/improved_wgan_training, gan_cifar_resnet.py and gan_64x64.py.
    """

    image_size: ImageSize = 32
    """Height and width of the images in pixels, or one number for both: multiples of 4."""
    channels: int = 3
    """Channels of the images: 1 or 3."""
    filters: int = 128
    """Filters at the largest size; the paper's code uses 128 at 32 pixels and 64 at 64."""
    norm: Norm = "batch"
    """Normalization of the hidden layers."""
    num_classes: int = 0
    """Number of classes to condition on, with data of pairs (image, label); 0 for none."""
    condition_dim: int = 0
    """Dimension of a condition vector, with data of pairs (image, vector); 0 for none."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; weights stay float32."""

    @nn.compact
    def __call__(self, z: PyTree, train: bool = True) -> PyTree:
        plan = _plan(self.image_size, self.filters)
        dtype = jnp.dtype(self.dtype)
        widths = [self.filters * multiple for multiple in residual_widths(self.image_size)]
        z, condition = split_condition(z, self.num_classes, self.condition_dim, "ResNetGenerator")
        x = concat_condition(z.reshape(z.shape[0], -1), condition, self.num_classes)
        x = nn.Dense(plan.area * widths[0], dtype=dtype)(x)
        x = x.reshape(-1, *plan.smallest, widths[0])
        for width in widths:
            x = ResidualBlock(width, "up", self.norm, dtype=dtype)(x, train)
        x = nn.relu(normalize(x, self.norm, train=train, dtype=dtype))
        x = Conv(self.channels, 3, 1, 1, True, dtype)(x)
        image = jnp.tanh(x).astype(jnp.float32)
        return image if condition is None else (image, condition)


class ResNetCritic(nn.Module):
    """Images [batch, height, width, channels] to scores [batch].

    From 32 pixels: four residual blocks of `filters`, of which the first two halve the
    size (three blocks, of which the first halves it, if a side is smaller), ReLU, the mean
    over the image and a linear map. From 64 pixels: a 3x3 convolution, four halving blocks
    of 2, 4, 8 and 8 times `filters` and a linear map of the remaining 4x4 image. With
    `num_classes` it takes (image, label) and projects the label.

    Raises:
      ValueError: `image_size` is not a multiple of 4, the images have another shape,
        a conditional critic gets no labels, or `dropout` is not in [0, 1).

    Example:
      >>> import jax, jax.numpy as jnp
      >>> critic = ResNetCritic(image_size=32, filters=4)
      >>> x = jnp.ones((2, 32, 32, 3))
      >>> critic.apply(critic.init(jax.random.key(0), x), x).shape
      (2,)

    References:
      As for `ResNetGenerator`.
    """

    image_size: ImageSize = 32
    """Height and width of the images in pixels, or one number for both: multiples of 4."""
    channels: int = 3
    """Channels of the images: 1 or 3."""
    filters: int = 128
    """Filters of the first layer; the paper's code uses 128 at 32 pixels and 64 at 64."""
    norm: Norm = "layer"
    """Normalization of the hidden layers; a penalty needs layer or none."""
    num_classes: int = 0
    """Number of classes to condition on, with data of pairs (image, label); 0 for none."""
    condition_dim: int = 0
    """Dimension of a condition vector, with data of pairs (image, vector); 0 for none."""
    dropout: float = 0.0
    """Probability of dropping a unit after each block but the first, in training."""
    spectral_norm: bool = False
    """Divide each weight by its largest singular value."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Type of the computation; weights stay float32."""

    @nn.compact
    def __call__(self, x: PyTree, train: bool = True) -> Array:
        plan = _plan(self.image_size, self.filters)
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")
        x, condition = split_condition(x, self.num_classes, self.condition_dim, "ResNetCritic")
        expected = (*plan.sides, self.channels)
        if x.shape[1:] != expected:
            raise ValueError(f"ResNetCritic takes images {expected}, got {x.shape[1:]}")
        dtype = jnp.dtype(self.dtype)

        def normalized(layer: nn.Module, x: Array) -> Array:
            return maybe_spectral_norm(layer, self.spectral_norm, train=train)(x)

        def block(x: Array, multiple: int, resample: Resample, first: bool = False) -> Array:
            width = self.filters * multiple
            layer = ResidualBlock(width, resample, self.norm, first, self.spectral_norm, dtype)
            x = layer(x, train)
            return x if first else nn.Dropout(self.dropout, deterministic=not train)(x)

        count = residual_halvings(self.image_size)
        if not plan.is_large:
            x = block(x, 1, "down", first=True)
            x = block(x, 1, "down") if count == 2 else x
            for _ in range(2):
                x = block(x, 1, "none")
            x = nn.relu(x).mean((1, 2))
        else:
            x = normalized(Conv(self.filters, 3, 1, 1, True, dtype, _lecun), x)
            for multiple in (min(8, 2 ** (k + 1)) for k in range(count)):
                x = block(x, multiple, "down")
            x = x.reshape(x.shape[0], -1)
        score = normalized(nn.Dense(1, dtype=dtype), x) + condition_projection(
            x, condition, self.num_classes, spectral_norm=self.spectral_norm, train=train
        )
        return score[:, 0].astype(jnp.float32)


def _plan(image_size: ImageSize, filters: int) -> Halvings:
    if filters < 1:
        raise ValueError(f"filters must be at least 1, got {filters}")
    return halvings(image_size)


def _double(x: Array) -> Array:
    n, h, w, c = x.shape
    return jnp.broadcast_to(x[:, :, None, :, None], (n, h, 2, w, 2, c)).reshape(n, 2 * h, 2 * w, c)


def _halve(x: Array) -> Array:
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).mean((2, 4))
