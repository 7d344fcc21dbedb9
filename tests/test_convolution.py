"""The convolutions are lax's convolutions, to the second derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from wgan_jax.networks.convolution import Geometry, convolve, spread

CASES = [(8, 4, 2, 1), (9, 4, 2, 1), (7, 3, 2, 1), (8, 3, 1, 1), (5, 1, 1, 0), (8, 5, 3, 0)]


def plain(geometry, x, k):
    return lax.conv_general_dilated(
        x,
        k,
        (geometry.stride,) * 2,
        ((geometry.padding,) * 2,) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@pytest.mark.parametrize(("size", "window", "stride", "padding"), CASES)
def test_value_gradient_and_second_derivative(size, window, stride, padding, key):
    geometry = Geometry((size, size + 1), (window, window), stride, padding)
    keys = jax.random.split(key, 4)
    x = jax.random.normal(keys[0], (2, size, size + 1, 3))
    k = jax.random.normal(keys[1], (window, window, 3, 5))
    dx, dk = jax.random.normal(keys[2], x.shape), jax.random.normal(keys[3], k.shape)

    def energy(conv):
        def gradient_along(x, k):
            gx, gk = jax.grad(lambda x, k: jnp.sin(conv(geometry, x, k)).sum(), (0, 1))(x, k)
            return (gx * dx).sum() + (gk * dk).sum()

        return jax.jit(lambda x, k: (conv(geometry, x, k), jax.grad(gradient_along, (0, 1))(x, k)))(
            x, k
        )

    ours, theirs = energy(convolve), energy(plain)
    assert ours[0].shape[1:3] == geometry.output
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-3)


def test_spread_is_the_transpose(key):
    geometry = Geometry((8, 8), (4, 4), 2, 1)
    a, b, c = jax.random.split(key, 3)
    x, k = jax.random.normal(a, (2, 8, 8, 3)), jax.random.normal(b, (4, 4, 3, 5))
    y = jax.random.normal(c, (2, 4, 4, 5))
    left = (convolve(geometry, x, k) * y).sum()
    np.testing.assert_allclose(left, (x * spread(geometry, y, k)).sum(), rtol=1e-4)
