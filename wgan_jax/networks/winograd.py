"""The three maps of a 4x4 convolution with stride 2, in 9/16 of the multiplications.

Space to depth turns it into a 2x2 convolution with stride 1 on four times the channels.
Winograd's F(2x2, 2x2) computes a 2x2 tile of its outputs with 9 products instead of 16.
Along one axis

    y0 = d0 g0 + d1 g1        m0 = (d0 - d1) g0                 y0 = m0 + m1
    y1 = d1 g0 + d2 g1        m1 = d1 (g0 + g1)                 y1 = m1 + m2
                              m2 = (d2 - d1) g1

The trilinear form <x * k, y> = sum_t (B x)_t (G k)_t (A y)_t gives all three maps: transform
two operands, take nine matrix products, and apply the transposed transform of the third.

References:
  Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from wgan_jax.types import Array

_PRODUCTS = 9


def applies(window: tuple[int, int], stride: int, output: tuple[int, int], channels: int) -> bool:
    """Return whether sizes fit, with enough channels to pay for the transforms."""
    is_even = all(size % 2 == 0 for size in output)
    return window == (4, 4) and stride == 2 and is_even and channels >= 32


def convolve(x: Array, kernel: Array, output: tuple[int, int], padding: int) -> Array:
    """Map images [n, H, W, i] and kernel [4, 4, i, o] to outputs [n, h, w, o]."""
    products = _of_image(x, output, padding) @ _of_kernel(kernel)
    return _to_outputs(products, output)


def spread(y: Array, kernel: Array, image: tuple[int, int], padding: int) -> Array:
    """Map outputs [n, h, w, o] and kernel [4, 4, i, o] to images [n, H, W, i]."""
    _, h, w, _ = y.shape
    products = jnp.einsum("tmo,tio->tmi", _of_outputs(y), _of_kernel(kernel))
    return _to_image(products, (h, w), image, padding)


def correlate(x: Array, y: Array, padding: int) -> Array:
    """Map images [n, H, W, i] and outputs [n, h, w, o] to kernel [4, 4, i, o]."""
    _, h, w, _ = y.shape
    image = _of_image(x, (h, w), padding)
    return _to_kernel(jnp.einsum("tmi,tmo->tio", image, _of_outputs(y)))


def _of_image(x: Array, output: tuple[int, int], padding: int) -> Array:
    """B x: [9, tiles, 4i]."""
    (h, w), n, i = output, x.shape[0], x.shape[3]
    x = _resized(x, (2 * (h + 1), 2 * (w + 1)), padding)
    x = x.reshape(n, h + 1, 2, w + 1, 2, i)

    def differences(x: Array, axis: int, size: int) -> tuple[Array, Array, Array]:
        d0, d1, d2 = (lax.slice_in_dim(x, k, k + size - 1, 2, axis) for k in range(3))
        return d0 - d1, d1, d2 - d1

    tiles = [t for rows in differences(x, 1, h) for t in differences(rows, 3, w)]
    return jnp.stack([t.transpose(0, 1, 3, 2, 4, 5) for t in tiles]).reshape(_PRODUCTS, -1, 4 * i)


def _to_image(
    products: Array, output: tuple[int, int], image: tuple[int, int], padding: int
) -> Array:
    """B' of [9, tiles, 4i]: neighboring tiles share a row and a column."""
    (h, w), i = output, products.shape[-1] // 4
    products = products.reshape(3, 3, -1, h // 2, w // 2, 2, 2, i)

    def overlapped(m: list[Array], axis: int) -> Array:
        def shifted(x: Array, by: int) -> Array:
            margin = [(0, 0)] * x.ndim
            margin[axis] = (by, 1 - by)
            return jnp.pad(x, margin)

        even, odd = shifted(m[0], 0) + shifted(m[2], 1), shifted(m[1] - m[0] - m[2], 0)
        x = jnp.stack([even, odd], axis + 1)
        return x.reshape(*even.shape[:axis], -1, *even.shape[axis + 1 :])

    rows = [overlapped([products[r, c] for r in range(3)], 1) for c in range(3)]
    x = overlapped(rows, 2).transpose(0, 1, 3, 2, 4, 5)
    x = x.reshape(-1, 2 * (h + 2), 2 * (w + 2), i)
    return _resized(x, image, -padding)


def _of_kernel(kernel: Array) -> Array:
    """G k: [9, 4i, o]."""
    _, _, i, o = kernel.shape
    kernel = kernel.reshape(2, 2, 2, 2, i, o)
    g = [[kernel[a, :, b] for b in range(2)] for a in range(2)]
    return jnp.stack([_at(g, r, c) for r in range(3) for c in range(3)]).reshape(-1, 4 * i, o)


def _to_kernel(products: Array) -> Array:
    """G' of [9, 4i, o]."""
    i, o = products.shape[1] // 4, products.shape[2]
    m = products.reshape(3, 3, 2, 2, i, o)
    m = jnp.stack([m[0] + m[1], m[1] + m[2]])
    m = jnp.stack([m[:, 0] + m[:, 1], m[:, 1] + m[:, 2]], axis=2)  # a, row, b, column
    return m.reshape(4, 4, i, o)


def _of_outputs(y: Array) -> Array:
    """A y: [9, tiles, o]."""
    n, h, w, o = y.shape
    y = y.reshape(n, h // 2, 2, w // 2, 2, o)
    g = [[y[:, :, a, :, b] for b in range(2)] for a in range(2)]
    return jnp.stack([_at(g, r, c) for r in range(3) for c in range(3)]).reshape(_PRODUCTS, -1, o)


def _to_outputs(products: Array, output: tuple[int, int]) -> Array:
    """A' of [9, tiles, o]."""
    (h, w), o = output, products.shape[-1]
    m = products.reshape(3, 3, -1, h // 2, w // 2, o)
    m = jnp.stack([m[0] + m[1], m[1] + m[2]])
    m = jnp.stack([m[:, 0] + m[:, 1], m[:, 1] + m[:, 2]], axis=1)  # a, b, n, h/2, w/2, o
    return m.transpose(2, 3, 0, 4, 1, 5).reshape(-1, h, w, o)


def _at(g: list[list[Array]], row: int, column: int) -> Array:
    """Sum the values of a 2x2 grid in a product: per axis the first, both or the last."""
    indices = ((0,), (0, 1), (1,))
    values = [g[a][b] for a in indices[row] for b in indices[column]]
    return sum(values[1:], values[0])


def _resized(x: Array, size: tuple[int, int], before: int) -> Array:
    """Pad or crop height and width to `size`, with `before` zeros in front (negative: crop)."""
    margins = [(before, new - before - old, 0) for new, old in zip(size, x.shape[1:3], strict=True)]
    return lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *margins, (0, 0, 0)])
