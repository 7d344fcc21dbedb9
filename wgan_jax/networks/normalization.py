"""Normalization layers, selected by name."""

from __future__ import annotations

from typing import Any, Literal

import flax.linen as nn
import jax

from wgan_jax.types import Array

Norm = Literal["batch", "layer", "none"]


def scale_init(key: Array, shape: tuple[int, ...], dtype=None) -> Array:
    """Draw from N(1, 0.02), as DCGAN initializes the scales of normalization layers."""
    return 1.0 + nn.initializers.normal(0.02)(key, shape, dtype or jax.numpy.float32)


def normalize(x: Array, kind: Norm, *, train: bool, dtype: Any = None) -> Array:
    """Normalize images [n, h, w, c], or features [n, c], inside a compact Linen module.

    `batch` uses batch statistics in training and running statistics otherwise.
    `layer` normalizes each sample over all but the first axis, with a scale and
    shift per channel, as WGAN-GP does in critics.
    """
    match kind:
        case "none":
            return x
        case "batch":
            return nn.BatchNorm(
                use_running_average=not train,
                momentum=0.9,
                epsilon=1e-5,
                dtype=dtype,
                scale_init=scale_init,
            )(x)
        case "layer":
            axes = tuple(range(1, x.ndim))
            return nn.LayerNorm(epsilon=1e-5, dtype=dtype, reduction_axes=axes)(x)
        case _:
            raise ValueError(f"unknown norm {kind!r}; choose from 'batch', 'layer', 'none'")
