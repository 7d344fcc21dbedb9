"""One-dimensional W1: sorting solves it, so the estimate of two arrays is exact."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wgan_jax import distances, estimate_w1
from wgan_jax.distances.exact import transport_potentials

pytestmark = [pytest.mark.usefixtures("optimized_programs"), pytest.mark.once]

_QUICK = {"steps": 20, "cones": 16}


def two_normals(seed, n, m, shift=0.0):
    r = np.random.default_rng(seed)
    return r.normal(size=n), r.normal(size=m) + shift


@pytest.mark.parametrize("n", [1, 2, 500])
@pytest.mark.parametrize("round_to", [None, 0])
def test_potentials_are_feasible_and_attain_the_distance(n, round_to):
    x, y = (z[:, None] if round_to is None else z.round()[:, None] for z in two_normals(0, n, n, 1))
    w1, phi, psi = transport_potentials(x, y)
    assert (phi[:, None] + psi[None] <= np.abs(x - y.T) + 1e-12).all()
    assert phi.mean() + psi.mean() == pytest.approx(w1, abs=1e-12)
    assert w1 == pytest.approx(distances.exact_w1(x, y), abs=1e-12)


@pytest.mark.parametrize(("n", "m"), [(60, 70), (3000, 1000)])
def test_the_value_is_exact_whatever_the_key_the_order_and_the_unit(n, m):
    x, y = two_normals(1, n, m, 3.0)
    exact = distances.exact_w1(x[:, None], y[:, None])
    for seed in range(3):
        r = np.random.default_rng(seed)
        e = estimate_w1(r.permutation(x), r.permutation(y), key=jax.random.key(seed), **_QUICK)
        assert e.value == pytest.approx(exact, rel=0.02)
        assert e.lower < exact < e.upper
    e = estimate_w1(1e3 * x + 7, 1e3 * y + 7, key=jax.random.key(0), **_QUICK)
    assert e.value == pytest.approx(1e3 * exact, rel=0.02)


def test_samples_of_one_law_read_zero():
    found = [
        estimate_w1(*two_normals(seed, 300, 200), key=jax.random.key(seed), **_QUICK).value
        for seed in range(20)
    ]
    assert sum(value > 0 for value in found) <= 3
    assert max(found) < 0.25


@pytest.mark.parametrize("shift", [0.0, 0.05])
def test_the_upper_bound_of_samplers_is_close(shift):
    p = lambda key, n: jax.random.normal(key, (n, 1))  # noqa: E731
    q = lambda key, n: shift + jax.random.normal(jax.random.fold_in(key, 1), (n, 1))  # noqa: E731
    e = estimate_w1(p, q, key=jax.random.key(0), held_out=16_384, **_QUICK)
    assert shift <= e.upper < 1.1 * shift + 0.01  # of a diameter of 9


def modes(weights, centers, std, fold=0):
    """A sampler of Gaussians on a line."""
    weights, centers = jnp.array(weights), jnp.array(centers)

    def sample(key, n):
        which, where = jax.random.split(jax.random.fold_in(key, fold))
        mode = jax.random.choice(which, len(centers), (n,), p=weights)
        return (centers[mode] + std * jax.random.normal(where, (n,)))[:, None]

    return sample


@pytest.mark.parametrize(
    ("q", "truth"),
    [
        pytest.param(
            modes([0.5, 0.5], [-1.0, 1.0], 0.12, 1),
            0.02 * (2 / np.pi) ** 0.5,
            id="wider",
            marks=pytest.mark.slow,
        ),
        pytest.param(modes([0.5, 0.5], [-0.99, 1.01], 0.1, 1), 0.01, id="moved"),
        pytest.param(
            modes([0.51, 0.49], [-1.0, 1.0], 0.1, 1),
            0.02,
            id="other weights",
            marks=pytest.mark.slow,
        ),
        pytest.param(modes([0.0, 1.0], [-1.0, 1.0], 0.1, 1), 1.0, id="a mode dropped"),
    ],
)
def test_samplers_of_numbers_are_told_closely(q, truth, key):
    e = estimate_w1(modes([0.5, 0.5], [-1.0, 1.0], 0.1), q, key=key, held_out=65_536)
    assert 0.85 * truth < e.lower <= truth <= e.upper < 1.6 * truth + 0.002 * 2.8
    assert e.value == pytest.approx(truth, rel=0.1)


@pytest.mark.parametrize("as_array", [False, True])
def test_its_critic_is_1_lipschitz_and_plots(as_array, key):
    p, q = modes([0.5, 0.5], [-1.0, 1.0], 0.1), modes([0.3, 0.7], [-1.0, 2.0], 0.3, 1)
    if as_array:
        p, q = (np.asarray(s(key, 3000)) for s in (p, q))
    e = estimate_w1(p, q, key=key, held_out=4096)
    x = np.linspace(-5, 5, 20_001)[:, None]
    f = np.asarray(e.critic(jnp.asarray(x, jnp.float32)), np.float64)
    assert np.abs(np.diff(f) / np.diff(x[:, 0])).max() < 1.01  # float32 in steps of 0.0005
    assert f[-1] != f[0]
    assert [axes.get_xlabel() for axes in e.plot().axes] == ["transports averaged"]
