"""lower <= W1 <= upper at the stated confidence, on adversarial distributions and odd input."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from wgan_jax.data.funnels import Funnels
from wgan_jax.distances import exact_w1, w1_gaussians
from wgan_jax.estimate import estimate_w1

_QUICK = {"steps": 20, "cones": 16, "transport_size": 64, "held_out": 4096}
_ATOMS = np.array([[0.0, 0], [1, 0], [0, 1], [3, 3], [-2, 1]])
_P, _Q = np.array([0.4, 0.3, 0.1, 0.1, 0.1]), np.array([0.1, 0.2, 0.2, 0.3, 0.2])


def _atoms(r, n, masses):
    return _ATOMS[r.choice(5, n, p=masses)]


@functools.cache
def _between_atoms():
    return exact_w1(_ATOMS, _ATOMS, _P, _Q)


def _spikes(r, n):
    """A Pareto law of infinite variance, cut at 50; its mean is that of `_SPIKE`."""
    return np.minimum(r.random((n, 1)) ** (-2 / 3), 50)


_SPIKE = 50 * 50**-1.5 + 3 * (1 - 50**-0.5)

# A pair of samples from a numpy generator, and W1 of the laws they come from.
LAWS = {
    "gaussians": lambda r: (r.normal(size=(100, 2)), r.normal(size=(100, 2)) + 0.3, 0.3 * 2**0.5),
    "one law": lambda r: (r.normal(size=(80, 3)), r.normal(size=(80, 3)), 0.0),
    "coins": lambda r: ((r.random((60, 1)) < 0.1) * 1.0, (r.random((60, 1)) < 0.3) * 1.0, 0.2),
    "rare coin": lambda r: (np.zeros((60, 1)), (r.random((60, 1)) < 0.1) * 1.0, 0.1),
    "skewed": lambda r: (np.zeros((20, 1)), r.exponential(size=(20, 1)), 1.0),
    "both skewed": lambda r: (r.exponential(size=(30, 1)), 2 * r.exponential(size=(30, 1)), 1.0),
    "heavy tails": lambda r: (_spikes(r, 60), 3 * _spikes(r, 60), 2 * _SPIKE),
    "atoms": lambda r: (_atoms(r, 50, _P), _atoms(r, 50, _Q), _between_atoms()),
    "point mass": lambda r: (np.zeros((40, 2)), r.normal(size=(40, 2)), math.sqrt(math.pi / 2)),
    "unequal": lambda r: (r.normal(size=(30, 2)), r.normal(size=(200, 2)) + 1, 2**0.5),
    "dimension 50": lambda r: (
        r.normal(size=(40, 50)),
        r.normal(size=(40, 50)) + 0.2,
        0.2 * 50**0.5,
    ),
    "ten samples": lambda r: (r.random((10, 1)), r.random((10, 1)) + 0.5, 0.5),
}


def failures(law, repeats, first_seed):
    """How often a bound at confidence 0.9 fails."""
    failed = 0
    for seed in range(first_seed, first_seed + repeats):
        x, y, w1 = LAWS[law](np.random.default_rng(seed))
        x, y, key = x.astype(np.float32), y.astype(np.float32), jax.random.key(seed)
        e = estimate_w1(x, y, key=key, confidence=0.9, **_QUICK)
        assert 0 <= e.lower <= e.value <= e.upper
        failed += not e.lower - 1e-6 <= w1 <= e.upper * (1 + 1e-6)
    return failed


@pytest.mark.parametrize("law", ["coins", "rare coin", "skewed", "heavy tails", "atoms"])
def test_bounds_hold(law):
    assert failures(law, 15, 0) <= 3


@pytest.mark.slow
@pytest.mark.parametrize("law", LAWS)
def test_bounds_hold_as_often_as_stated(law):
    assert failures(law, 200, 1000) <= 20


def test_a_diameter_makes_the_upper_bound_hold_for_rare_mass():
    """Twenty samples rarely see mass of 2%: what they do not show, only the diameter bounds."""
    for seed in range(10):
        y = (np.random.default_rng(seed).random((20, 1)) < 0.02).astype(np.float32)
        x, key = np.zeros((20, 1), np.float32), jax.random.key(seed)
        assert estimate_w1(x, y, key=key, diameter=1.0, **_QUICK).upper >= 0.02
    with pytest.raises(ValueError, match=r"got 0.5 where samples are 1 apart"):
        estimate_w1(x, x + 1, key=jax.random.key(0), diameter=0.5, **_QUICK)


@pytest.mark.parametrize("diameter", [0.5, 0.0, -1.0, np.nan])
@pytest.mark.parametrize("as_samplers", [False, True])
def test_a_diameter_that_samples_exceed_is_refused_before_any_work(diameter, as_samplers, key):
    p, q = (lambda key, n, x=x: x + jax.random.uniform(key, (n, 1)) for x in (0.0, 1.0))
    if not as_samplers:
        p, q = p(jax.random.key(1), 20), q(jax.random.key(2), 20)
    with pytest.raises(ValueError, match=rf"got {diameter:g} where samples are [12]"):
        estimate_w1(p, q, key=key, diameter=diameter, steps=10**9, held_out=2**40)


def halves(one, other):
    """Independent rows in order: the first half about one point, the second about another."""

    def sample(key, n):
        means = jnp.where(jnp.arange(n) < n // 2, one, other)[:, None]
        return means + 0.1 * jax.random.normal(key, (n, 1))

    return sample


@pytest.mark.parametrize(
    ("p", "q", "truth"),
    [
        (halves(0.0, 10.0), halves(0.0, -10.0), 10.0),
        (halves(5.0, -5.0), halves(-5.0, 5.0), 0.0),
        (halves(0.0, 1.0), lambda key, n: 9 + jnp.sort(jax.random.normal(key, (n, 1)), 0), 8.5),
    ],
)
def test_samplers_whose_rows_are_in_order(p, q, truth, key):
    e = estimate_w1(p, q, key=key, **_QUICK)
    assert e.lower <= truth <= e.upper
    assert e.value == pytest.approx(truth, rel=0.05, abs=0.5)


def far_away(r, n, mass):
    """A point, but for a mass at distance 1 / mass."""
    far = r.random((n, 1)) < mass
    return (1e-3 * r.normal(size=(n, 2)) + far * np.array([[1 / mass, 0.0]])).astype(np.float32)


def test_rare_mass_far_away_counts_in_whichever_batch_it_is():
    """Of 800 samples, 4 are far away on average, and in 98 of 100 cases there is one."""
    failed = 0
    for seed in range(12):
        r = np.random.default_rng(seed)
        p, q = far_away(r, 800, 1 / 200), 1e-3 * r.normal(size=(800, 2)).astype(np.float32)
        e = estimate_w1(p, q, key=jax.random.key(seed), **(_QUICK | {"transport_size": 100}))
        assert e.lower <= 1.01
        failed += e.upper < 0.99
    assert failed <= 1


def test_rare_mass_far_away_counts_outside_the_batches():
    for seed in range(3):
        r = np.random.default_rng(seed)
        p, q = far_away(r, 5000, 1 / 500), 1e-3 * r.normal(size=(5000, 2)).astype(np.float32)
        options = _QUICK | {"transport_size": 16, "transports": 2}
        assert estimate_w1(p, q, key=jax.random.key(seed), **options).upper >= 0.99


@pytest.mark.parametrize("n", [8, 13])
def test_few_samples(n):
    r = np.random.default_rng(n)
    x, y = r.normal(size=(n, 2)), r.normal(size=(n + 1, 2)) + 1
    e = estimate_w1(x, y, key=jax.random.key(n), **_QUICK)
    assert e.lower <= 2**0.5 <= e.upper


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_types_of_samples(dtype, key):
    r = np.random.default_rng(0)
    x, y = r.normal(size=(2, 64, 2))
    plain = estimate_w1(x, y + 3, key=key, **_QUICK)
    cast = [np.asarray(z).astype(jnp.dtype(dtype)) for z in (x, y + 3)]
    e = estimate_w1(*cast, key=jax.random.key(0), **_QUICK)
    assert e.value == pytest.approx(plain.value, rel=0.02)


def test_samplers_of_half_precision(key):
    def half(key, n):
        return jax.random.normal(key, (n, 2), jnp.bfloat16)

    e = estimate_w1(half, lambda key, n: 3 * half(key, n), key=key, **_QUICK)
    assert e.lower <= w1_gaussians(2, 1.0, 3.0) <= e.upper


def test_legacy_keys_and_arrays_beside_samplers():
    x = np.random.default_rng(0).normal(size=(100, 2))

    def normal(key, n):
        return 2.0 + jax.random.normal(key, (n, 2))

    e = estimate_w1(x, normal, key=jax.random.PRNGKey(0), **_QUICK)
    assert e.lower <= 8**0.5 <= e.upper
    assert (e.n_p, e.n_q) == (50, 4096)


@pytest.mark.parametrize(("unit", "offset"), [(1e-6, 0.0), (1e6, 0.0), (1.0, 1e4), (1e-6, 1e-2)])
def test_units_and_offsets(unit, offset):
    r = np.random.default_rng(0)
    x, y = unit * r.normal(size=(2, 100, 2)) + offset
    e = estimate_w1(x, y + unit, key=jax.random.key(0), **_QUICK)
    assert e.lower <= unit * 2**0.5 <= e.upper
    assert e.value == pytest.approx(unit * 2**0.5, rel=0.3)


def test_scales_far_apart():
    r = np.random.default_rng(0)
    x, y = 1e-6 * r.normal(size=(100, 2)), 1e6 * r.normal(size=(100, 2))
    e = estimate_w1(x, y, key=jax.random.key(0), **_QUICK)
    assert e.lower <= 1e6 * math.sqrt(math.pi / 2) <= e.upper


def test_points_that_coincide(key):
    x = np.ones((50, 3), np.float32)
    e = estimate_w1(x, x, key=key, **_QUICK)
    assert e.lower == 0 <= e.value <= 1e-5
    e = estimate_w1(x, x + 2, key=jax.random.key(1), **_QUICK)
    assert e.lower <= 12**0.5 * (1 + 1e-6)
    assert e.upper == pytest.approx(12**0.5, rel=1e-5)


def test_many_values(key):
    r = np.random.default_rng(0)
    x, y = r.random((40, 32, 32, 3)), r.random((40, 32, 32, 3)) + 0.5
    e = estimate_w1(x, y, key=key, **_QUICK)
    assert e.lower <= 0.5 * 3072**0.5 <= e.upper


@pytest.mark.parametrize(
    ("p", "message"),
    [
        (lambda key, n: np.zeros((n, 2)), "sampler p must return one array computed by JAX"),
        (lambda key, n: float(jax.random.normal(key)), r"sampler p cannot be traced by JAX: .*\Z"),
        (lambda key, n: jnp.arange(2.0 * n).reshape(n, 2), "p returns the same 4096 samples for"),
        (
            lambda key, n: jax.random.normal(jax.random.key(0), (n, 2)),
            "same 4096 samples for every key.*draw with its key, or give the samples",
        ),
        (lambda key, n: jax.random.normal(key, (7, 2)), "at least 8 samples"),
        (lambda key, n: jax.random.normal(key, (9, 2)), r"asked for 4096 .* gave \(9, 2\)"),
        (lambda key, n: jax.random.normal(key, (n, 2)) / 0, r"p of shape .* not finite"),
        (lambda key, n: jax.random.normal(key, (n, 2)) * 1j, r"complex"),
        (np.full((9, 2), 1e200), "beyond float32"),
    ],
)
def test_samplers_that_are_none(p, message, key):
    with pytest.raises(ValueError, match=message):
        estimate_w1(p, np.zeros((9, 2)), key=key)


@pytest.mark.slow
@pytest.mark.parametrize(("dim", "count"), [(2, 64), (16, 40), (48, 12)])
def test_rows_of_funnels_give_their_distance_within_a_few_percent(dim, count, key):
    pair = Funnels.draw(dim, count)
    on_truth, on_p, on_q, on_estimate = jax.random.split(key, 4)
    truth, _ = pair.w1(on_truth)
    x, y = np.asarray(pair(on_p, 20_000)), np.asarray(pair.target(on_q, 20_000))
    e = estimate_w1(x, y, key=on_estimate)
    assert e.value == pytest.approx(truth, rel=0.05)
    assert 0.91 * truth < e.lower <= truth <= e.upper


def test_rows_of_one_law_are_not_told_apart(key):
    on_rows, on_estimate = jax.random.split(key)
    x, y = jax.random.normal(on_rows, (2, 2_000, 6))
    e = estimate_w1(x, y, key=on_estimate, transport_size=64)
    assert (e.value, e.lower) == (0, 0)
