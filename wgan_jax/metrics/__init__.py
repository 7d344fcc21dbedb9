"""Metrics of samples against data, on points or on the features of a network.

Each takes feature arrays [n, d] from any source; `extract` applies a network in
batches. Values are only comparable on the same features, so include the features
in the metric's name: `frechet/lenet`.
"""

from wgan_jax.distances import exact_w1, sliced_w1, w1_floor
from wgan_jax.metrics.arrays import extract
from wgan_jax.metrics.classifier import ClassifierScore, classifier_score, conditional_accuracy
from wgan_jax.metrics.coverage import Coverage, mode_coverage
from wgan_jax.metrics.density_coverage import DensityCoverage, density_coverage
from wgan_jax.metrics.frechet import frechet_distance
from wgan_jax.metrics.kernel import KernelDistance, kernel_distance
from wgan_jax.metrics.memorization import (
    DataCopying,
    Membership,
    Neighbors,
    data_copying,
    nearest_membership,
    nearest_neighbors,
)
from wgan_jax.metrics.precision_recall import PrecisionRecall, precision_recall

__all__ = [
    "ClassifierScore",
    "Coverage",
    "DataCopying",
    "DensityCoverage",
    "KernelDistance",
    "Membership",
    "Neighbors",
    "PrecisionRecall",
    "classifier_score",
    "conditional_accuracy",
    "data_copying",
    "density_coverage",
    "exact_w1",
    "extract",
    "frechet_distance",
    "kernel_distance",
    "mode_coverage",
    "nearest_membership",
    "nearest_neighbors",
    "precision_recall",
    "sliced_w1",
    "w1_floor",
]
