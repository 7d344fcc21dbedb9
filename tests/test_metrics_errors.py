"""Metrics refuse features, probabilities and arguments that they cannot use."""

import jax
import numpy as np
import pytest

from wgan_jax import metrics

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
