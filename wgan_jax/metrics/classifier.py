"""Scores of samples by a classifier of the data: the Inception score and label accuracy."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from wgan_jax.metrics.arrays import AnyArray, floating, is_traced
from wgan_jax.types import Array


class ClassifierScore(NamedTuple):
    """A score with its standard error.

    Attributes:
      value: from 1 (bad) to the number of classes.
      error: standard error of `value`.
    """

    value: Array
    error: Array


def classifier_score(probabilities: AnyArray) -> ClassifierScore:
    """exp E KL(p(y|x) || p(y)): high if samples are clearly classified and cover all classes.

    With Inception's ImageNet classifier it is the Inception score. It ignores the data, so
    use it together with a distance. The standard error is that of the mean KL propagated
    through exp; p(y) minimizes that mean and contributes nothing to first order.

    Args:
      probabilities: class probabilities of each sample, [n, classes].

    Returns:
      A `ClassifierScore`.

    Raises:
      ValueError: not an array [n, classes] of at least two samples, integers, values that
        are not finite, or rows that are not probabilities.

    Example:
      >>> import jax.numpy as jnp
      >>> classifier_score(jnp.eye(4)).value.round(4).item()
      4.0
      >>> classifier_score(jnp.full((8, 4), 0.25)).value.round(4).item()
      1.0

    References:
      Salimans et al., Improved Techniques for Training GANs, 2016, section 4.
    """
    p = _probabilities("classifier_score", probabilities, least=2)
    marginal = p.mean(0, keepdims=True)
    # Take logarithms of nonzero probabilities only: at 0 the gradient is not finite.
    is_positive = p > 0
    ratio = jnp.log(jnp.where(is_positive, p, 1)) - jnp.log(jnp.where(is_positive, marginal, 1))
    divergence = (p * ratio).sum(1)
    value = jnp.exp(divergence.mean())
    variance = divergence.var(ddof=1)
    std = jnp.sqrt(jnp.where(variance > 0, variance, 1))  # finite gradient at 0
    return ClassifierScore(value, value * jnp.where(variance > 0, std, 0) / len(p) ** 0.5)


def conditional_accuracy(probabilities: AnyArray, labels: AnyArray) -> Array:
    """The fraction of samples that a classifier assigns to the requested class.

    Args:
      probabilities: class probabilities of each sample, [n, classes].
      labels: requested classes, integers [n].

    Returns:
      A scalar in [0, 1].

    Raises:
      ValueError: as for `classifier_score`, or labels that are not integers [n].

    Example:
      >>> import jax.numpy as jnp
      >>> conditional_accuracy(jnp.eye(4), jnp.array([0, 1, 2, 0])).item()
      0.75
    """
    p = _probabilities("conditional_accuracy", probabilities, least=1)
    if jnp.shape(labels) != p.shape[:1] or not jnp.issubdtype(labels.dtype, jnp.integer):
        raise ValueError(
            f"conditional_accuracy takes integer labels [{len(p)}], got {labels.dtype} of shape "
            f"{jnp.shape(labels)}"
        )
    return (p.argmax(1) == jnp.asarray(labels)).astype(jnp.float32).mean()


def _probabilities(name: str, p: AnyArray, least: int) -> Array:
    if jnp.ndim(p) != 2 or len(p) < least or p.shape[1] == 0:
        raise ValueError(
            f"{name} takes probabilities [n, classes] with n >= {least}, got {jnp.shape(p)}"
        )
    p = floating(name, p)
    if not is_traced(p):
        off = float(np.abs(np.asarray(p).sum(1) - 1).max())
        if np.min(p) < 0 or off > 1e-3:
            raise ValueError(f"{name} takes rows of probabilities, got {p.shape} off by {off:.3g}")
    return jnp.asarray(p)
