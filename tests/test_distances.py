"""Distances: closed forms, metric properties and bad input."""

import math
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgan_jax import distances
from wgan_jax.distances import exact_w1, w1_floor


def rng(seed=0):
    return np.random.default_rng(seed)


def test_exact_of_a_translation():
    x = rng().normal(size=(200, 30))
    shift = rng(1).normal(size=30)
    assert exact_w1(x, x[::-1] + shift) == pytest.approx(np.linalg.norm(shift), rel=1e-12)


@given(st.integers(0, 10**6), st.integers(1, 8), st.integers(1, 8), st.integers(1, 20))
def test_exact_is_a_metric(seed, n, m, d):
    r = rng(seed)
    x, y, z = r.normal(size=(n, d)), r.normal(size=(m, d)), r.normal(size=(n, d))
    assert exact_w1(x, x) == pytest.approx(0, abs=1e-7)
    assert exact_w1(x, y) == pytest.approx(exact_w1(y, x), rel=1e-9)
    assert exact_w1(x, y) <= exact_w1(x, z) + exact_w1(z, y) + 1e-9


def test_unequal_sizes_agree_with_repeated_points():
    x, y = rng().normal(size=(6, 3)), rng(1).normal(size=(4, 3))
    repeated = exact_w1(np.repeat(x, 2, 0), np.repeat(y, 3, 0))
    assert exact_w1(x, y) == pytest.approx(repeated, rel=1e-9)
    assert exact_w1(x[:, :1], y[:, :1]) == pytest.approx(
        exact_w1(np.repeat(x[:, :1], 2, 0), np.repeat(y[:, :1], 3, 0))
    )


def test_weights_are_repetitions():
    x, y = rng().normal(size=(3, 2)), rng(1).normal(size=(6, 2))
    weighted = exact_w1(x, y, x_weights=np.array([1.0, 2.0, 3.0]))
    assert weighted == pytest.approx(exact_w1(x[[0, 1, 1, 2, 2, 2]], y), rel=1e-9)


def test_network_flow_agrees_with_the_linear_program(monkeypatch):
    x, y, w = rng().normal(size=(30, 3)), rng(1).normal(size=(20, 3)), rng(2).random(30)
    flow = exact_w1(x, y, x_weights=w)
    monkeypatch.setitem(sys.modules, "ot.lp", None)
    assert exact_w1(x, y, x_weights=w) == pytest.approx(flow, rel=1e-9)
    with pytest.raises(ValueError, match="2001 by 2000 points are too many"):
        exact_w1(np.zeros((2001, 2)), np.zeros((2000, 2)))


def test_chunks_are_never_below_the_whole():
    x, y = rng().normal(size=(2, 100, 2))
    whole, chunked = exact_w1(x, y), exact_w1(x, y, chunk=30)
    assert whole < chunked < 3 * whole
    assert exact_w1(x, y, chunk=100) == whole
    assert exact_w1(x, x + 1, chunk=7) == pytest.approx(2**0.5)
    for bad in ((x, y, 0), (x, y[:50], 10)):
        with pytest.raises(ValueError, match="chunks need a size of at least 1"):
            exact_w1(*bad[:2], chunk=bad[2])


def test_exact_flattens_images():
    x = rng().normal(size=(5, 4, 4, 1)).astype(np.float32)
    assert exact_w1(x, x + np.float32(0.5)) == pytest.approx(2.0, rel=1e-6)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4)), r"\(3, 2\) and \(3, 4\)"),
        (np.zeros((0, 2)), np.zeros((3, 2)), r"at least one point"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), r"\(3, 2\) has 6 values"),
        (np.zeros((3, 2), complex), np.zeros((3, 2)), "real numbers"),
    ],
)
def test_exact_refuses(x, y, message):
    with pytest.raises(ValueError, match=message):
        exact_w1(x, y)


def test_exact_refuses_weights():
    x = np.zeros((3, 2))
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(2,\)"):
        exact_w1(x, x, np.ones(2))
    with pytest.raises(ValueError, match="not negative"):
        exact_w1(x, x, y_weights=np.array([1.0, -1.0, 1.0]))


def test_floor_falls_with_more_points(key):
    few, many = jax.random.split(key)

    def normal(key, n):
        return jax.random.normal(key, (n, 3))

    assert w1_floor(normal, 50, few, repeats=4) > 1.5 * w1_floor(normal, 500, many, repeats=2)


def test_divergences_of_two_gaussians():
    grid = jnp.linspace(-8, 8, 4001)
    dx = 16 / 4000

    def normal(mean):
        return jnp.exp(-((grid - mean) ** 2) / 2) / math.sqrt(2 * math.pi)

    p, q = normal(0.0), normal(1.5)
    assert distances.kl(p, q, dx) == pytest.approx(1.5**2 / 2, rel=1e-3)
    overlap = math.erfc(0.75 / math.sqrt(2))
    assert distances.total_variation(p, q, dx) == pytest.approx(1 - overlap, rel=1e-3)
    assert 0 < distances.js(p, q, dx) < math.log(2)
    assert distances.w1_on_grid(p, q, grid, density=True) == pytest.approx(1.5, rel=1e-3)


def test_divergences_saturate_where_w1_does_not():
    p, near, far = jnp.eye(10)[0], jnp.eye(10)[1], jnp.eye(10)[9]
    positions = jnp.arange(10.0)
    for q, distance in ((near, 1), (far, 9)):
        assert distances.js(p, q) == pytest.approx(math.log(2))
        assert distances.total_variation(p, q) == 1
        assert distances.kl(p, q) == jnp.inf
        assert distances.w1_on_grid(p, q, positions) == distance


@given(st.integers(0, 10**6), st.integers(2, 30))
def test_divergences_of_histograms(seed, k):
    p, q = (jnp.asarray(h, jnp.float32) for h in rng(seed).dirichlet(np.ones(k), size=2))
    tv, js = float(distances.total_variation(p, q)), float(distances.js(p, q))
    assert js == pytest.approx(float(distances.js(q, p)), abs=1e-6)
    assert tv**2 / 2 <= js + 1e-6
    assert js <= tv * math.log(2) + 1e-6
    assert 2 * tv**2 <= float(distances.kl(p, q)) + 1e-6


def test_histogram_on_the_line_is_the_weighted_exact_distance():
    p, q = (jnp.asarray(h, jnp.float32) for h in rng().dirichlet(np.ones(12), size=2))
    positions = jnp.sort(jax.random.normal(jax.random.key(0), (12,)))
    line = exact_w1(positions, positions, p, q)
    assert distances.w1_on_grid(p, q, positions) == pytest.approx(line, rel=1e-5)


def test_sorted_agrees_with_exact():
    x, y = rng().normal(size=(2, 300)).astype(np.float32)
    assert distances.w1_sorted(jnp.asarray(x), jnp.asarray(y)) == pytest.approx(
        exact_w1(x, y), rel=1e-5
    )


def test_closed_forms_agree_with_exact_transport_along_rays():
    z = rng().normal(size=(4000, 3))
    scaled = np.linalg.norm(z, axis=1).mean() * 0.5
    assert distances.w1_gaussians(3, 1.0, 1.5) == pytest.approx(scaled, rel=0.03)
    sphere = z[:500] / np.linalg.norm(z[:500], axis=1, keepdims=True)
    assert exact_w1(sphere, 2.5 * sphere) == pytest.approx(distances.w1_spheres(1, 2.5))
    assert distances.w1_translation(jnp.array([3.0, 4.0])) == 5


@given(st.integers(0, 10**6), st.integers(1, 10))
def test_slices_are_below_exact(seed, d):
    r = rng(seed)
    x = jnp.asarray(r.normal(size=(64, d)), jnp.float32)
    y = jnp.asarray(r.normal(size=(64, d)) * 2 + 0.3, jnp.float32)
    one, two = jax.random.split(jax.random.key(seed))
    mean, largest = distances.sliced_w1(x, y, one), distances.max_sliced_w1(x, y, two)
    assert mean <= largest * (1 + 1e-5)
    assert largest <= exact_w1(x, y) * (1 + 1e-5)


def test_max_sliced_finds_the_direction_of_a_translation(key):
    data, slices = jax.random.split(key)
    x = jax.random.normal(data, (128, 50))
    shift = jnp.full((1, 50), 0.2)
    largest = jax.jit(distances.max_sliced_w1)(x, x + shift, slices)
    assert largest == pytest.approx(0.2 * 50**0.5, rel=1e-4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: distances.kl(jnp.ones(2), jnp.ones(3)), r"\(2,\) and \(3,\)"),
        (lambda: distances.js(jnp.ones(2), jnp.ones(3)), r"\(2,\) and \(3,\)"),
        (lambda: distances.w1_sorted(jnp.ones(2), jnp.ones(3)), r"\(2,\) and \(3,\)"),
        (lambda: distances.w1_on_grid(jnp.ones(2), jnp.ones(2), jnp.ones(3)), r"\(3,\)"),
        (lambda: distances.w1_gaussians(0), "dim=0"),
        (lambda: distances.sliced_w1(jnp.ones((2, 1)), jnp.ones((3, 1)), None), r"\(3, 1\)"),
        (
            lambda: distances.sliced_w1(
                jnp.ones((2, 1)), jnp.ones((2, 1)), jax.random.key(0), projections=0
            ),
            "got 0",
        ),
        (lambda: w1_floor(lambda key, n: jnp.ones((n, 1)), 0, jax.random.key(0)), "n=0"),
    ],
)
def test_distances_refuse(call, message):
    with pytest.raises(ValueError, match=message):
        call()
