"""Metrics agree with plain NumPy and SciPy, with closed forms, and with their invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats
from scipy.spatial import distance

from wgan_jax import metrics
from wgan_jax.metrics.neighbors import smallest


def draws(n, m, d, seed=0, shift=0.3):
    r = np.random.default_rng(seed)
    mix = r.normal(size=(d, d)) / d**0.5
    x, y = r.normal(size=(n, d)), r.normal(size=(m, d)) @ mix + shift
    return x.astype(np.float32), y.astype(np.float32)


def frechet_by_sqrtm(x, y):
    x, y = x.astype(np.float64), y.astype(np.float64)
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = linalg.sqrtm(s1 @ s2).real
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1 + s2 - 2 * root)


@pytest.mark.parametrize(("n", "m", "d"), [(300, 300, 2), (500, 400, 24), (900, 1000, 84)])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_frechet_distance_is_that_of_sqrtm(n, m, d, scale):
    x, y = draws(n, m, d)
    # A mean far from the origin costs float32 its digits unless it is taken off first.
    x, y = (np.float32(scale) * (z + np.float32(5)) for z in (x, y))
    np.testing.assert_allclose(
        metrics.frechet_distance(x, y), frechet_by_sqrtm(x, y), rtol=1e-6, atol=0
    )


def test_frechet_distance_between_halves_of_one_law_keeps_its_digits():
    y = draws(2, 4_000, 16)[1]
    same = y[:2_000], y[2_000:]
    np.testing.assert_allclose(metrics.frechet_distance(*same), frechet_by_sqrtm(*same), rtol=1e-6)


def test_frechet_distance_of_singular_covariances():
    """Fewer samples than features, and constant features, do not spoil the matrix root."""
    x, y = draws(10, 12, 40)
    x[:, :5] = y[:, :5] = 0
    s1, s2 = (np.cov(z.astype(np.float64), rowvar=False) for z in (x, y))
    half = linalg.eigh(s1)
    half = half[1] * np.sqrt(np.maximum(half[0], 0)) @ half[1].T
    root = np.sqrt(np.maximum(linalg.eigvalsh(half @ s2 @ half), 0)).sum()
    wanted = np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1 + s2) - 2 * root
    np.testing.assert_allclose(metrics.frechet_distance(x, y), wanted, rtol=1e-6)


def test_frechet_distance_of_gaussians_comes_near_the_closed_form():
    r = np.random.default_rng(0)
    x, y = r.normal(size=(200_000, 3)), 2 * r.normal(size=(200_000, 3)) + [1.0, 0.0, 0.0]
    np.testing.assert_allclose(metrics.frechet_distance(x, y), 1 + 3 * (2 - 1) ** 2, rtol=0.01)


def test_frechet_distance_does_not_depend_on_axes_or_order():
    x, y = draws(300, 300, 8)
    turn = stats.ortho_group.rvs(8, random_state=0)
    wanted = metrics.frechet_distance(x, y)
    np.testing.assert_allclose(metrics.frechet_distance(y, x), wanted, rtol=1e-6)
    np.testing.assert_allclose(metrics.frechet_distance(x @ turn, y @ turn), wanted, rtol=1e-5)
    assert metrics.frechet_distance(x, x[::-1]) < 1e-12 * np.square(x).sum()


def test_frechet_distance_under_jit():
    x, y = draws(400, 400, 24)
    host, traced = metrics.frechet_distance(x, y), jax.jit(metrics.frechet_distance)(x, y)
    total = np.square(x).sum(1).mean() + np.square(y).sum(1).mean()
    assert abs(host - traced) < 1e-6 * total


def flat_feature(x, y):
    return x.at[:, 2].set(0.5), y


def flat_features(x, y):
    return x.at[:, 2].set(0.5), y.at[:, 2].set(-1.0)


def equal_columns(x, y):
    return x.at[:, 1].set(x[:, 0]), y


CORNERS = {
    "full rank": lambda x, y: (x, y),
    "a constant feature": flat_feature,
    "constant features in both": flat_features,
    "equal features": equal_columns,
    "fewer samples than features": lambda x, y: (x[:3], y[:4]),
    "constant sets": lambda x, y: (jnp.ones_like(x), jnp.ones_like(y)),
    "equal sets": lambda x, y: (x, x + 0.0),
}


@pytest.mark.parametrize("corner", CORNERS)
def test_frechet_distance_has_the_slope_of_its_differences(corner):
    """It is right for shifts, scalings and moves of one sample, in forward and reverse mode."""
    x, y = CORNERS[corner](*map(jnp.asarray, draws(30, 40, 5)))
    gradient = jax.grad(metrics.frechet_distance)(x, y)
    assert np.isfinite(gradient).all()
    for way in (jnp.ones_like(x), x, jnp.zeros_like(x).at[0].set(x[0] - x[1])):
        ahead, behind = (
            frechet_by_eigenvalues(np.float64(x) + t * np.float64(way), y) for t in (1e-4, -1e-4)
        )
        wanted, scale = (ahead - behind) / 2e-4, 1 + abs(np.float64(x)).max()
        np.testing.assert_allclose((gradient * way).sum(), wanted, rtol=2e-3, atol=2e-3 * scale)
        forward = jax.jvp(lambda x: metrics.frechet_distance(x, y), (x,), (way,))[1]
        np.testing.assert_allclose(forward, wanted, rtol=2e-3, atol=2e-3 * scale)


def frechet_by_eigenvalues(x, y):
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    s1, s2 = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = np.sqrt(np.maximum(linalg.eigvals(s1 @ s2).real, 0)).sum()
    return np.sum((x.mean(0) - y.mean(0)) ** 2) + np.trace(s1 + s2) - 2 * root


@pytest.mark.parametrize("offset", [1e3, 1e6, -3e6])
def test_traced_metrics_do_not_depend_on_the_origin(offset):
    x, y = (np.float32(offset) + np.round(8 * z) / 8 for z in draws(300, 300, 20))
    total = np.var(x.astype(np.float64), 0).sum() + np.var(y.astype(np.float64), 0).sum()
    for metric, atol in [
        (metrics.frechet_distance, 3e-6 * total),
        (metrics.precision_recall, 1e-6),
        (metrics.density_coverage, 1e-6),
    ]:
        np.testing.assert_allclose(jax.jit(metric)(x, y), metric(x, y), rtol=1e-5, atol=atol)
    host, traced = metrics.kernel_distance(x, y), jax.jit(metrics.kernel_distance)(x, y)
    np.testing.assert_allclose(traced.error, host.error, rtol=1e-3)
    assert abs(traced.value - host.value) < 1e-3 * host.error


def squared_mmd(x, y):
    x, y = x.astype(np.float64), y.astype(np.float64)
    total, n = 0.0, len(x)
    for i in range(n):
        for j in range(n):
            if i != j:
                total += ((x[i] @ x[j] / x.shape[1] + 1) ** 3) / (n * (n - 1))
                total += ((y[i] @ y[j] / x.shape[1] + 1) ** 3) / (n * (n - 1))
            total -= 2 * ((x[i] @ y[j] / x.shape[1] + 1) ** 3) / (n * n)
    return total


def test_kernel_distance_is_a_mean_over_blocks():
    x, y = draws(90, 90, 5)
    blocks = [squared_mmd(x[i : i + 30], y[i : i + 30]) for i in (0, 30, 60)]
    result = metrics.kernel_distance(x, y, block_size=30)
    np.testing.assert_allclose(result.value, np.mean(blocks), rtol=1e-6)
    traced = jax.jit(lambda x, y: metrics.kernel_distance(x, y, block_size=30))(x, y)
    np.testing.assert_allclose(traced, result, rtol=1e-4)


def kernel_distances(n, d, change, count, **blocks):
    r = np.random.default_rng([n, d])
    pairs = ((r.normal(size=(n, d)), change(r.normal(size=(n + 3, d)))) for _ in range(count))
    return np.array([metrics.kernel_distance(x, y, **blocks) for x, y in pairs]).T


@pytest.mark.parametrize(
    ("n", "d", "blocks"),
    [
        (20, 4, {}),
        (20, 64, {}),
        (150, 4, {}),
        (400, 3, {"block_size": 50}),
        (60, 4, {"block_size": 20}),
    ],
)
def test_the_error_bar_of_the_kernel_distance_holds(n, d, blocks):
    """It holds for equal distributions, and for those that differ in mean or in scale."""
    equal, error = kernel_distances(n, d, lambda y: y, 150, **blocks)
    assert np.mean(abs(equal) > 2 * error) <= 0.08
    assert 0.5 < equal.std() / np.sqrt(np.mean(error**2)) < 1.15
    for change in (lambda y: y + 0.5, lambda y: 0.7 * y):
        value, error = kernel_distances(n, d, change, 150, **blocks)
        truth = true_squared_mmd(d, change)
        assert abs(value.mean() - truth) < 4 * stats.sem(value)
        assert np.mean(abs(value - truth) > 2 * error) <= 0.15
        assert 0.7 < value.std() / np.sqrt(np.mean(error**2)) < 1.2


def true_squared_mmd(d, change):
    """In closed form for N(0, I) against N(a 1, b² I): E (u + 1)³ for the mean u of products."""
    a, b = change(np.zeros(1))[0], change(np.ones(1))[0] - change(np.zeros(1))[0]

    def mean(a, s, b, t):
        # u = x·y / d of independent coordinates with means a, b and standard deviations s, t.
        m = a * b
        second = (a**2 + s**2) * (b**2 + t**2)
        third = (a**3 + 3 * a * s**2) * (b**3 + 3 * b * t**2)
        variance, skew = second - m**2, third - 3 * m * second + 2 * m**3
        m, variance, skew = m + 1, variance / d, skew / d**2
        return m**3 + 3 * m * variance + skew

    return mean(0, 1, 0, 1) + mean(a, b, a, b) - 2 * mean(0, 1, a, b)


def test_errors_of_constant_sets_have_a_slope():
    x = jnp.ones((8, 3))
    slope = jax.jit(jax.grad(lambda x: metrics.kernel_distance(x, x + 1).error))(x)
    assert np.isfinite(slope).all()
    for part in ("value", "error"):
        gradient = jax.jit(
            jax.grad(lambda p, part=part: getattr(metrics.classifier_score(p), part))
        )
        for p in (jnp.eye(4), jnp.full((5, 4), 0.25), jnp.eye(4)[:, :3].at[3, 0].set(1.0)):
            assert np.isfinite(gradient(p)).all()


def neighbors(real, fake, k):
    """Precision, recall, density and coverage with closed balls, from all distances in float64."""

    def radii(x):
        return np.sort(distance.cdist(x, x), axis=1)[:, k]

    real, fake = real.astype(np.float64), fake.astype(np.float64)
    between, r_real, r_fake = distance.cdist(real, fake), radii(real), radii(fake)
    precision = (between <= r_real[:, None]).any(0).mean()
    recall = (between <= r_fake[None, :]).any(1).mean()
    density = (between <= r_real[:, None]).sum(0).mean() / k
    coverage = (between.min(1) <= r_real).mean()
    return precision, recall, density, coverage


BOTH = metrics.precision_recall, metrics.density_coverage
COMPILED = tuple(jax.jit(metric, static_argnames="k") for metric in BOTH)


def neighborhood_metrics(real, fake, k, both=BOTH):
    return [value for metric in both for value in metric(real, fake, k=k)]


def with_ties(name, seed=0):
    """Two sets of features whose distances tie."""
    r = np.random.default_rng(seed)
    if name == "repeated rows":
        x = np.repeat(r.normal(size=(30, 20)), 5, axis=0)
        return x, r.permutation(x)
    if name == "constant":
        return np.full((150, 20), 0.3), np.full((150, 20), 0.3)
    table = r.integers(0, 2, size=(2, 150, 20)).astype(np.float64)
    if name == "standardized binary table":
        return tuple((table - table.mean((0, 1))) / table.std((0, 1)))
    if name == "binary table far from the origin":
        return tuple(table + 1e5)
    if name == "far clusters":
        return tuple(r.choice([-3e3, 3e3], size=(2, 150, 1)) + r.normal(size=(2, 150, 20)))
    return tuple(table)


@pytest.mark.parametrize(
    "name",
    [
        "repeated rows",
        "constant",
        "binary table",
        "standardized binary table",
        "binary table far from the origin",
        "far clusters",
    ],
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_ties_count_as_inside(name, dtype):
    real, fake = (x.astype(dtype) for x in with_ties(name))
    wanted = neighbors(real, fake, 3)
    np.testing.assert_allclose(neighborhood_metrics(real, fake, 3), wanted, rtol=1e-6)
    if name != "far clusters":  # which float32 cannot tell apart
        traced = neighborhood_metrics(np.float32(real), np.float32(fake), 3, COMPILED)
        np.testing.assert_allclose(traced, neighbors(*map(np.float32, (real, fake)), 3), rtol=1e-6)
    for both in (BOTH, COMPILED):
        precision, recall, _, coverage = neighborhood_metrics(real, real[::-1], 3, both)
        assert precision == recall == coverage == 1


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_neighborhood_metrics_do_not_depend_on_the_unit(scale):
    real, fake = (np.float32(scale) * x for x in draws(60, 60, 3))
    wanted = neighbors(np.float64(real) / scale, np.float64(fake) / scale, 3)
    for both in (BOTH, COMPILED):
        np.testing.assert_allclose(neighborhood_metrics(real, fake, 3, both), wanted, rtol=1e-6)


@pytest.mark.parametrize("d", [2, 40])
@pytest.mark.parametrize("k", [1, 4])
def test_neighborhood_metrics_are_those_of_the_papers(d, k):
    real, fake = draws(210, 170, d)
    wanted = neighbors(real, fake, k)
    for both in (BOTH, COMPILED):
        np.testing.assert_allclose(neighborhood_metrics(real, fake, k, both), wanted, rtol=1e-6)


def test_neighborhood_metrics_do_not_depend_on_the_blocks(monkeypatch):
    x, y = draws(101, 77, 20)
    wanted = neighbors(x, y, 2)
    monkeypatch.setattr("wgan_jax.metrics.neighbors._PAIRS", 700)
    monkeypatch.setattr("wgan_jax.metrics.neighbors._HOST_PAIRS", 700)
    for both in (BOTH, COMPILED):
        np.testing.assert_allclose(neighborhood_metrics(x, y, 2, both), wanted, rtol=1e-6)


def test_distances_of_all_pairs_are_never_held():
    """10,000 by 10,000 floats would be 381 MiB."""
    shape = jax.ShapeDtypeStruct((10_000, 64), np.float32)
    for metric in (metrics.precision_recall, metrics.density_coverage):
        needed = jax.jit(metric).lower(shape, shape).compile().memory_analysis()
        assert needed.temp_size_in_bytes < 100 * 2**20


def test_coverage_of_one_law_is_what_its_paper_says():
    x, y = np.random.default_rng(0).normal(size=(2, 2_000, 8))
    density, coverage = metrics.density_coverage(x, y, k=5)
    assert abs(density - 1) < 0.05
    assert abs(coverage - (1 - 2**-5)) < 0.02


def test_the_kth_smallest_counts_ties():
    values = np.random.default_rng(0).integers(0, 6, size=(50, 12)).astype(np.float32)
    for k in (1, 3, 12):
        np.testing.assert_array_equal(
            smallest(jnp.asarray(values), k), np.sort(values, axis=1)[:, k - 1]
        )


def test_classifier_score_and_its_error():
    r = np.random.default_rng(0)
    p = r.dirichlet(np.full(5, 0.3), size=500)
    divergence = np.array([stats.entropy(row, p.mean(0)) for row in p])
    value, error = metrics.classifier_score(p)
    np.testing.assert_allclose(value, np.exp(divergence.mean()), rtol=1e-5)
    again = [
        metrics.classifier_score(r.dirichlet(np.full(5, 0.3), size=500)).value for _ in range(60)
    ]
    assert 0.75 < np.std(again) / error < 1.35
    labels = p.argmax(1)
    labels[:100] = (labels[:100] + 1) % 5
    assert metrics.conditional_accuracy(p, labels) == pytest.approx(0.8)


def test_features_come_in_batches_from_any_function():
    x = np.random.default_rng(0).normal(size=(7, 3, 2)).astype(np.float32)
    found = metrics.extract(lambda x: jnp.sin(x).reshape(len(x), -1), x, batch_size=3)
    np.testing.assert_allclose(found, np.sin(x).reshape(7, 6), rtol=1e-6)
    with pytest.raises(ValueError, match=r"\[2, d\]"):
        metrics.extract(lambda x: x.sum(), x)
