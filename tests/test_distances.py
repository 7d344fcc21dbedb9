"""Distances: closed forms, metric properties and bad input."""

import math
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wgan_jax import distances, memory
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


@pytest.mark.parametrize("dim", [1, 2, 40])
@pytest.mark.parametrize("far", [1e8, 1e16, 1e100])
def test_a_far_point_costs_the_others_nothing(far, dim, monkeypatch):
    """One point of each cloud is far away: W1 is theirs and that of the others, however solved."""
    x, y = rng().normal(size=(2, 30, dim))
    near = 29 * exact_w1(x[1:], y[1:])
    x[0], y[0] = x[0] + far, x[0] + far
    truth = (near + np.linalg.norm(x[0] - y[0])) / 30
    w = rng(1).random(30)
    twice, order = np.concatenate([y, y]), rng(2).permutation(30)
    assert exact_w1(x, y) == pytest.approx(truth, rel=1e-6)
    for _ in range(2):  # network flow, and without POT the linear program
        assert exact_w1(x, y, np.ones(30), np.full(30, 7.0)) == pytest.approx(truth, rel=1e-6)
        assert exact_w1(x, twice) == pytest.approx(truth, rel=1e-6)
        assert exact_w1(twice, x) == pytest.approx(truth, rel=1e-6)
        assert exact_w1(x, x[order], w, w[order]) == pytest.approx(0, abs=1e-9)
        monkeypatch.setitem(sys.modules, "ot.lp", None)


def test_a_far_point_alone_is_the_distance():
    x, y = rng().normal(size=(2, 10, 3))
    x[0] += 1e16
    assert exact_w1(x, y) == pytest.approx(1e16 * 3**0.5 / 10, rel=1e-6)
    assert exact_w1(x, y[:5]) == pytest.approx(1e16 * 3**0.5 / 10, rel=1e-6)
    with pytest.raises(ValueError, match="rescale"):
        exact_w1(1e200 * x, y)


@pytest.mark.parametrize("unit", [1e-100, 1e-9, 1e9])
def test_every_solver_scales_with_the_units(unit, monkeypatch):
    x, y = rng().normal(size=(12, 2)), rng(1).normal(size=(9, 2))
    truth = exact_w1(x, y)
    for _ in range(2):
        assert exact_w1(unit * x, unit * y) == pytest.approx(unit * truth, rel=1e-6, abs=0)
        monkeypatch.setitem(sys.modules, "ot.lp", None)


def test_small_steps_in_many_dimensions_far_from_the_center():
    x = rng().normal(size=(50, 100))
    x[:25] += 1e6
    assert exact_w1(x, x[::-1] + 1e-4) == pytest.approx(1e-3, rel=1e-4)


def test_more_points_than_memory_holds_are_refused():
    x = np.zeros((3_000_000, 2), np.float32)
    with pytest.raises(ValueError, match=r"3000000 by 3000000 points take .* chunk=4_000"):
        exact_w1(x, x)
    assert exact_w1(x[:, :1], x[:, :1]) == 0


@pytest.mark.parametrize("limit", ["RLIMIT_AS", "RLIMIT_DATA"])
def test_a_limit_of_the_process_counts_as_its_memory(limit):
    """What a cluster's `ulimit -v` or `ulimit -d` leaves is less than what the machine has."""
    code = (
        "import resource, numpy as np\n"
        "from wgan_jax.distances import exact_w1\n"
        f"resource.setrlimit(resource.{limit}, (6 * 2**30,) * 2)\n"
        "x = np.zeros((30_000, 2))\n"
        "try: exact_w1(x, x + 1)\n"
        "except ValueError as error: assert 'chunk=' in str(error), error\n"
        "else: raise AssertionError('not refused')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_control_group_counts_as_memory_less_what_it_uses(tmp_path, monkeypatch):
    """As a container or a Slurm job sees it; cached files can be reclaimed."""
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    (tmp_path / "memory.max").write_text(f"{2**30}\n")
    assert memory.host_memory() == memory.free_memory() == 2**30
    (tmp_path / "memory.current").write_text(f"{2**29}\n")
    (tmp_path / "memory.stat").write_text(f"anon 7\ninactive_file {2**28}\n")
    assert memory.host_memory() == 2**30
    assert memory.free_memory() == 2**30 - 2**28
    x = np.zeros((12_000, 2))
    with pytest.raises(ValueError, match=r"0\.75 GiB are free"):
        exact_w1(x, x)
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.host_memory() > 2**30


def test_single_precision_gives_what_double_precision_gives():
    """Points are widened a block at a time."""
    x, y = rng().normal(size=(2, 600, 40)).astype(np.float32)
    y[:9] = x[:9]
    assert exact_w1(x, y) == exact_w1(x.astype(float), y.astype(float))
    assert exact_w1(x[:, :1], y[:, :1]) == exact_w1(x[:, :1].astype(float), y[:, :1].astype(float))


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


@given(st.integers(0, 10**6), st.sampled_from([2, 3, 30]))  # each size compiles
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


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 10]))  # each dimension compiles
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


def max_sliced(x, y):
    return distances.max_sliced_w1(x, y, jax.random.key(1))


def test_gradients_are_finite_where_laws_or_means_are_equal():
    x = jax.random.normal(jax.random.key(0), (32, 3))
    centered = x - x.mean(0, keepdims=True)
    histogram = jnp.array([0.5, 0.5, 0.0])
    for distance, point, other in (
        (max_sliced, x, x),
        (max_sliced, centered, 2 * centered),
        (max_sliced, jnp.zeros((4, 2)), jnp.zeros((4, 2))),
        (lambda x, y: distances.sliced_w1(x, y, jax.random.key(1)), x, x),
        (lambda x, y: distances.w1_translation(x - y), x, x),
        (lambda p, q: distances.w1_on_grid(p, q, jnp.arange(3.0)), histogram, histogram),
        (distances.w1_sorted, x, x),
        (distances.js, histogram, histogram),
        (distances.kl, histogram, histogram),
        (distances.total_variation, histogram, histogram),
    ):
        for slope in jax.grad(lambda x, y, f=distance: f(x, y).sum(), argnums=(0, 1))(point, other):
            assert jnp.isfinite(slope).all()


def test_the_gradient_of_max_sliced_is_that_of_a_difference():
    x, step = jax.random.normal(jax.random.key(0), (2, 32, 3))

    def f(t):
        return max_sliced(x + t * step, 2 * x[::-1])

    slope = (f(1e-2) - f(-1e-2)) / 2e-2
    assert jax.grad(f)(0.0) == pytest.approx(float(slope), rel=0.02)


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
