"""Distances: closed forms, metric properties and bad input."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wgan_jax.distances.exact import exact_w1, w1_floor


def rng(seed=0):
    return np.random.default_rng(seed)


def test_exact_of_a_translation():
    x = rng().normal(size=(200, 30))
    shift = rng(1).normal(size=30)
    assert exact_w1(x, x[::-1] + shift) == pytest.approx(np.linalg.norm(shift), rel=1e-12)


@settings(max_examples=20, deadline=None)
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
