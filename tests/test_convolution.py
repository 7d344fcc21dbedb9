"""The convolutions match those of lax, up to the second derivative."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jax import lax

from wgan_jax import GradientPenalty
from wgan_jax.networks import DCGANCritic, winograd
from wgan_jax.networks.convolution import Geometry, conv_transpose, convolve, kernel_gradient

CASES = [(8, 4, 2, 1), (9, 4, 2, 1), (7, 3, 2, 1), (8, 3, 1, 1), (5, 1, 1, 0), (8, 5, 3, 0)]
SHAPES = [(*case, 3, 5) for case in CASES] + [(8, 4, 2, 1, 32, 5)]  # the last by Winograd


def plain(geometry, x, k):
    return lax.conv_general_dilated(
        x,
        k,
        (geometry.stride,) * 2,
        ((geometry.padding,) * 2,) * 2,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


@pytest.mark.parametrize(("size", "window", "stride", "padding", "i", "o"), SHAPES)
def test_value_gradient_and_second_derivative(size, window, stride, padding, i, o, key):
    geometry = Geometry((size, size + 1), (window, window), stride, padding)
    keys = jax.random.split(key, 4)
    x = jax.random.normal(keys[0], (2, size, size + 1, i))
    k = jax.random.normal(keys[1], (window, window, i, o)) / i**0.5
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
    np.testing.assert_allclose(left, (x * conv_transpose(geometry, y, k)).sum(), rtol=1e-4)


COMPILED = settings.default.max_examples // 30  # each example compiles

geometries = st.builds(
    lambda image, window, stride, padding: Geometry(image, (window,) * 2, stride, padding),
    st.tuples(st.integers(4, 9), st.integers(4, 9)),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(0, 2),
)


def compared(geometry, maps):
    """All three maps of lax and of `maps`, as one program."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (2, *geometry.image, 3))
    k = jax.random.normal(keys[1], (*geometry.window, 3, 2))
    dy = jax.random.normal(keys[2], (2, *geometry.output, 2))

    @jax.jit
    def both(x, k, dy):
        y, pull = jax.vjp(lambda x, k: plain(geometry, x, k), x, k)
        return (y, *pull(dy)), maps(x, k, dy)

    for theirs, ours in zip(*both(x, k, dy), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@settings(max_examples=COMPILED)
@given(geometries)
def test_all_three_maps_are_those_of_lax_whatever_the_geometry(geometry):
    def maps(x, k, dy):
        return (
            convolve(geometry, x, k),
            conv_transpose(geometry, dy, k),
            kernel_gradient(geometry, x, dy),
        )

    compared(geometry, maps)


@settings(max_examples=COMPILED)
@given(
    st.sampled_from([(2, 2), (4, 2), (2, 6), (4, 4)]),
    st.integers(0, 2),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_winograd_is_the_convolution_that_it_saves(output, padding, odd):
    image = tuple(2 * h + 2 - 2 * padding + rest for h, rest in zip(output, odd, strict=True))
    geometry = Geometry(image, (4, 4), 2, padding)
    assert geometry.output == output
    assert winograd.applies((4, 4), 2, output, 32)

    def maps(x, k, dy):
        return (
            winograd.convolve(x, k, output, padding),
            winograd.spread(dy, k, image, padding),
            winograd.correlate(x, dy, padding),
        )

    compared(geometry, maps)


@pytest.mark.parametrize(
    ("window", "stride", "output", "channels"),
    [
        ((3, 3), 2, (4, 4), 64),
        ((4, 4), 1, (4, 4), 64),
        ((4, 4), 2, (3, 4), 64),
        ((4, 4), 2, (4, 4), 3),
    ],
)
def test_winograd_is_left_out_where_it_does_not_apply(window, stride, output, channels):
    assert not winograd.applies(window, stride, output, channels)


def test_a_penalty_on_a_critic_of_convolutions_differentiates_twice(key, monkeypatch):
    critic = DCGANCritic(image_size=16, channels=1, filters=32, norm="layer")
    keys = jax.random.split(key, 3)
    x, y = (jax.random.normal(k, (2, 16, 16, 1)) for k in keys[:2])
    params = critic.init(keys[2], x)

    def slope():
        def penalty(params):
            return GradientPenalty()(lambda x: critic.apply(params, x), x, y, jax.random.key(1))

        return jax.jit(jax.grad(penalty))(params)

    ours = slope()
    monkeypatch.setattr("wgan_jax.networks.convolution.convolve", plain)
    theirs = slope()
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert np.linalg.norm(a - b) <= 1e-4 * np.linalg.norm(b)


MAPS = {
    "convolve": (convolve, (2, 8, 8, 3), (4, 4, 3, 5)),
    "spread": (conv_transpose, (2, 4, 4, 5), (4, 4, 3, 5)),
    "correlate": (kernel_gradient, (2, 8, 8, 3), (2, 4, 4, 5)),
}
GEOMETRY = Geometry((8, 8), (4, 4), 2, 1)


def normal(key, *shapes):
    keys = jax.random.split(key, len(shapes))
    return [jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]


@pytest.mark.parametrize("name", MAPS)
def test_the_derivative_of_a_bilinear_map_forwards_is_exact_in_a_scan_and_under_vmap(name, key):
    one, *shapes = MAPS[name]
    f = jax.tree_util.Partial(one, GEOMETRY)
    a, b, da, db = normal(key, *shapes, *shapes)

    @jax.jit
    def along(a, b, da, db):
        _, slope = jax.jvp(f, (a, b), (da, db))
        each = jax.vmap(lambda a, da: jax.jvp(lambda a: f(a, b), (a,), (da,))[1])
        scanned = lax.scan(lambda c, d: (c, jax.jvp(f, (a, b), d)[1]), 0, (da[None], db[None]))
        return slope, scanned[1][0], each(jnp.stack([a, da]), jnp.stack([da, a]))

    slope, scanned, each = along(a, b, da, db)
    # A bilinear map has no third difference, so that the central difference is the derivative.
    central = (f(a + da, b + db) - f(a - da, b - db)) / 2
    np.testing.assert_allclose(slope, central, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(scanned, slope, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(each, jnp.stack([f(da, b), f(a, b)]), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("channels", [3, 32])  # the last by Winograd
def test_both_modes_and_their_mixtures_give_the_derivatives_of_lax(channels, key):
    x, k, dx, dk = normal(key, *((2, 4, 4, channels), (4, 4, channels, 2)) * 2)
    geometry = Geometry((4, 4), (4, 4), 2, 1)

    def products(conv):
        def energy(x, k):
            return jnp.sin(conv(geometry, x, k) / channels).sum()

        def forwards(x, k):
            return jax.jvp(energy, (x, k), (dx, dk))[1]

        def backwards(x, k):
            return jax.jvp(jax.grad(energy, (0, 1)), (x, k), (dx, dk))[1]

        return forwards(x, k), jax.grad(forwards, (0, 1))(x, k), backwards(x, k)

    ours, theirs = (jax.jit(lambda conv=conv: products(conv))() for conv in (convolve, plain))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)


def test_members_that_share_images_have_the_gradients_of_lax(key):
    x, k = normal(key, (2, 8, 8, 3), (3, 4, 4, 3, 5))

    def slopes(conv):
        def energy(x, k):
            each = jax.vmap(jax.vmap(lambda x, k: conv(GEOMETRY, x[None], k), (0, None)), (None, 0))
            return jnp.sin(each(x, k)).sum()

        return jax.jit(jax.grad(energy, (0, 1)))(x, k)

    for a, b in zip(slopes(convolve), slopes(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_critic_has_a_hessian_and_the_same_jacobian_both_ways(key):
    critic = DCGANCritic(image_size=8, channels=1, filters=2, norm=None)
    x = jax.random.normal(key, (1, 8, 8, 1))
    params = critic.init(key, x)

    def score(x):
        return jnp.square(critic.apply(params, x).sum())

    hessian = jax.jit(jax.hessian(score))(x).reshape(64, 64)
    assert np.abs(hessian).max() > 0
    np.testing.assert_allclose(hessian, hessian.T, atol=1e-5 * np.abs(hessian).max())
    forwards, backwards = (jax.jit(jac(score))(x) for jac in (jax.jacfwd, jax.jacrev))
    np.testing.assert_allclose(forwards, backwards, rtol=1e-4, atol=1e-6)


def test_the_gradients_are_the_other_two_maps_to_the_last_bit_in_a_scan_too(key):
    x, k, dy = normal(key, (2, 8, 8, 3), (4, 4, 3, 5), (2, 4, 4, 5))

    def pulled(x, k, dy):
        return jax.vjp(jax.tree_util.Partial(convolve, GEOMETRY), x, k)[1](dy)

    def scanned(x, k, dy):
        return lax.scan(lambda c, dy: (c, pulled(x, k, dy)), 0, dy[None])[1]

    maps = jax.jit(
        lambda x, k, dy: (conv_transpose(GEOMETRY, dy, k), kernel_gradient(GEOMETRY, x, dy))
    )
    for ours, again, b in zip(
        *(jax.jit(f)(x, k, dy) for f in (pulled, scanned)), maps(x, k, dy), strict=True
    ):
        np.testing.assert_array_equal(ours, b)
        np.testing.assert_array_equal(again[0], b)


def test_the_precision_asked_for_where_it_is_called_is_that_of_all_derivatives():
    x, k = jnp.ones((1, 8, 8, 3)), jnp.ones((4, 4, 3, 5))

    def precise(x, k):
        with jax.default_matmul_precision("highest"):
            return convolve(GEOMETRY, x, k).sum()

    for f in (precise, jax.grad(precise, (0, 1))):
        text = jax.jit(f).lower(x, k).as_text()
        assert "HIGHEST" in text
        assert "DEFAULT" not in text
