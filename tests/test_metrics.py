"""Metrics against straightforward NumPy and SciPy, closed forms and invariances."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import linalg, stats

from wgan_jax import metrics
from wgan_jax.metrics.neighbours import smallest, squared_radii


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
    """Fewer samples than features, and dead features: the root of a product is no trouble here."""
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


def test_frechet_distance_under_jit_and_grad():
    x, y = draws(400, 400, 24)
    host, traced = metrics.frechet_distance(x, y), jax.jit(metrics.frechet_distance)(x, y)
    total = np.square(x).sum(1).mean() + np.square(y).sum(1).mean()
    assert abs(host - traced) < 1e-6 * total
    slope = jax.grad(lambda s: metrics.frechet_distance(jnp.asarray(x), jnp.asarray(y) + s))
    expected = 2 * np.sum(y.mean(0) - x.mean(0))  # only the mean moves
    np.testing.assert_allclose(slope(0.0), expected, rtol=1e-3)


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


def test_kernel_distance_is_a_mean_over_blocks_with_its_error():
    x, y = draws(90, 90, 5)
    blocks = [squared_mmd(x[i : i + 30], y[i : i + 30]) for i in (0, 30, 60)]
    found = metrics.kernel_distance(x, y, block_size=30)
    np.testing.assert_allclose(found.value, np.mean(blocks), rtol=1e-6)
    np.testing.assert_allclose(found.error, stats.sem(blocks), rtol=1e-6)
    traced = jax.jit(lambda x, y: metrics.kernel_distance(x, y, block_size=30))(x, y)
    np.testing.assert_allclose(traced, found, rtol=1e-4)


def test_kernel_distance_is_unbiased_and_its_error_bar_holds():
    r = np.random.default_rng(0)
    same, moved = [], []
    for _ in range(60):
        x, y = r.normal(size=(2, 400, 3))
        found, other = metrics.kernel_distance(x, y, block_size=50), None
        same.append((found.value / found.error).item())
        other = metrics.kernel_distance(x, y + np.array([0.5, 0.0, 0.0]), block_size=50)
        moved.append(other.value.item())
    assert abs(np.mean(same)) < 4 / 60**0.5
    assert 0.7 < np.std(same) < 1.5  # Student's t with 7 degrees: 1.18
    large = metrics.kernel_distance(
        r.normal(size=(8_000, 3)), r.normal(size=(8_000, 3)) + np.array([0.5, 0.0, 0.0])
    )
    assert abs(np.mean(moved) - large.value) < 4 * (large.error + stats.sem(moved))


def neighbours(real, fake, k):
    """Precision, recall, density and coverage as their papers' text has them, pair by pair."""
    real, fake = real.astype(np.float64), fake.astype(np.float64)

    def apart(a, b):
        return np.linalg.norm(a[:, None] - b[None], axis=-1)

    def radii(x):
        return np.sort(apart(x, x), axis=1)[:, k]

    between, r_real, r_fake = apart(real, fake), radii(real), radii(fake)
    precision = (between < r_real[:, None]).any(0).mean()
    recall = (between < r_fake[None, :]).any(1).mean()
    density = (between < r_real[:, None]).sum(0).mean() / k
    coverage = (between.min(1) < r_real).mean()
    return precision, recall, density, coverage


@pytest.mark.parametrize("d", [2, 40])
@pytest.mark.parametrize("k", [1, 4])
def test_neighbourhood_metrics_are_those_of_the_papers(d, k):
    real, fake = draws(210, 170, d)
    wanted = neighbours(real, fake, k)
    precision, recall = metrics.precision_recall(real, fake, k=k)
    density, coverage = metrics.density_coverage(real, fake, k=k)
    np.testing.assert_allclose([precision, recall, density, coverage], wanted, rtol=1e-6)


def test_neighbourhood_metrics_do_not_depend_on_the_blocks(monkeypatch):
    x = jnp.asarray(draws(101, 1, 20)[0])
    whole = squared_radii(x, 2)
    monkeypatch.setattr("wgan_jax.metrics.neighbours._PAIRS", 700)
    np.testing.assert_allclose(squared_radii(x, 2), whole, rtol=1e-5)


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


PAIRS = [
    metrics.frechet_distance,
    metrics.kernel_distance,
    metrics.precision_recall,
    metrics.density_coverage,
]


@pytest.mark.parametrize("metric", PAIRS, ids=lambda f: f.__name__)
def test_bad_features_are_refused_with_their_shapes(metric):
    x = np.ones((20, 3), np.float32)
    for bad, told in [
        (np.ones((20, 4), np.float32), r"\(20, 4\)"),
        (np.ones((20, 3, 1), np.float32), r"\(20, 3, 1\)"),
        (np.ones((20, 3), np.int32), "int32"),
        (np.full((20, 3), np.nan, np.float32), "60 values that are not finite"),
    ]:
        with pytest.raises(ValueError, match=told):
            metric(x, bad)
    with pytest.raises(ValueError, match=r"\(1, 3\)|1 samples|1 and"):
        metric(x[:1], x)
    with pytest.raises(ValueError, match=r"\(20, 4\)"):
        jax.jit(metric)(x, np.ones((20, 4), np.float32))


@pytest.mark.parametrize(
    ("probabilities", "told"),
    [
        (np.ones((3, 2)), "rows of probabilities"),
        (np.array([[1.5, -0.5]] * 2), "rows of probabilities"),
        (np.ones((1, 1)), r"\(1, 1\)"),
        (np.ones((3, 2), np.int32), "int32"),
    ],
)
def test_bad_probabilities_are_refused(probabilities, told):
    with pytest.raises(ValueError, match=told):
        metrics.classifier_score(probabilities)


def test_other_bad_arguments_are_refused():
    x = np.ones((20, 3), np.float32)
    with pytest.raises(ValueError, match="k=20"):
        metrics.precision_recall(x, x, k=20)
    with pytest.raises(ValueError, match="block_size"):
        metrics.kernel_distance(x, x, block_size=1)
    with pytest.raises(ValueError, match="labels"):
        metrics.conditional_accuracy(np.eye(3, dtype=np.float32), np.ones(3, np.float32))
