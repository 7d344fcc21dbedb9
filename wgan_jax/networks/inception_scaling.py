"""Image scaling to Inception's 299 x 299, as in the programs that compute the FID.

They differ in interpolation, pixel grid and range of the network's input, and so do their FIDs.
A published FID comes from one of them.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.types import Array

_SIDE = 299


def pytorch_fid(x: Array) -> Array:
    """Scale bilinearly, with half-pixel centers, no antialiasing and no quantization.

    Args:
      x: images [batch, h, w, channels] in [-1, 1].

    Returns:
      Input of Inception's first convolution, [batch, 299, 299, channels].

    Example:
      >>> pytorch_fid(jnp.ones((1, 2, 2, 3))).shape
      (1, 299, 299, 3)

    References:
      mseitzer/pytorch-fid.
    """
    return jax.image.resize(x, _scaled(x), "bilinear", antialias=False)


def clean_fid(x: Array) -> Array:
    """Quantize, then scale bicubically with antialiasing, as Pillow does in floating point.

    Args and Returns as for `pytorch_fid`.

    Example:
      >>> round(clean_fid(jnp.ones((1, 2, 2, 3))).max().item(), 3)  # (255 - 128) / 128
      0.992

    References:
      Parmar, Zhang and Zhu, On Aliased Resizing and Surprising Subtleties in GAN Evaluation, 2022.
    """
    levels = _as_saved(x)
    return (jax.image.resize(levels, _scaled(x), "cubic", antialias=True) - 128) / 128


def tensorflow(x: Array) -> Array:
    """Quantize, then scale bilinearly from the corners, as TensorFlow 1 does.

    Output pixel i lies at i h / 299 of the input, without the half pixel, as in the FIDs of the
    first papers and of torch-fidelity. Args and Returns as for `pytorch_fid`.

    Example:
      >>> round(tensorflow(jnp.ones((1, 2, 2, 3))).max().item(), 3)
      0.992

    References:
      Heusel et al., GANs Trained by a Two Time-Scale Update Rule, 2017; toshas/torch-fidelity.
    """
    down, across = _from_corners(x.shape[1]), _from_corners(x.shape[2])
    precise = jax.lax.Precision.HIGHEST
    levels = jnp.einsum("ih,bhwc,jw->bijc", down, _as_saved(x), across, precision=precise)
    return (levels - 128) / 128


SCALINGS: dict[str, Callable[[Array], Array]] = {
    "pytorch-fid": pytorch_fid,
    "clean-fid": clean_fid,
    "tensorflow": tensorflow,
}


def _scaled(x: Array) -> tuple[int, ...]:
    return (x.shape[0], _SIDE, _SIDE, x.shape[3])


def _as_saved(x: Array) -> Array:
    """Quantize values in [-1, 1] to levels 0 to 255."""
    return jnp.round((jnp.clip(x, -1.0, 1.0) + 1.0) * 127.5)


def _from_corners(size: int) -> Array:
    """Weights [299, size] of linear interpolation at i size / 299; the last pixel is repeated."""
    place = np.arange(_SIDE) * (size / _SIDE)
    below = np.floor(place).astype(int)
    above = np.minimum(below + 1, size - 1)
    weights, rows = np.zeros((_SIDE, size)), np.arange(_SIDE)
    np.add.at(weights, (rows, below), 1 - (place - below))
    np.add.at(weights, (rows, above), place - below)
    return jnp.asarray(weights, jnp.float32)
