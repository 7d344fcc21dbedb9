"""Scores of samples by a classifier of the data: one score, and whether labels are obeyed."""

from __future__ import annotations

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from wgan_jax.metrics.arrays import AnyArray, floating, is_traced
from wgan_jax.types import Array


class ClassifierScore(NamedTuple):
    """An estimate and how sure it is.

    Attributes:
      value: from 1 (bad) to the number of classes.
      error: its standard error.
    """

    value: Array
    error: Array


def classifier_score(probabilities: AnyArray) -> ClassifierScore:
    """exp E KL(p(y|x) || p(y)): each sample is clearly of a class, and all classes are there.

    With Inception's classifier of ImageNet it is the Inception score; it never
    looks at the data, so use it beside a distance. The error bar is that of the
    mean KL carried through exp; p(y), which minimizes that mean, adds nothing to first order.

    Args:
      probabilities: of the classes for each sample, [n, classes].

    Returns:
      A `ClassifierScore`.

    Raises:
      ValueError: no array [n, classes] of at least two samples, integers, values that
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
    # Logarithms of probabilities that are not 0 alone: the slope of the others is not finite.
    there = p > 0
    ratio = jnp.log(jnp.where(there, p, 1)) - jnp.log(jnp.where(there, marginal, 1))
    divergence = (p * ratio).sum(1)
    value = jnp.exp(divergence.mean())
    variance = divergence.var(ddof=1)
    spread = jnp.sqrt(jnp.where(variance > 0, variance, 1))  # whose slope at 0 is not finite
    return ClassifierScore(value, value * jnp.where(variance > 0, spread, 0) / len(p) ** 0.5)


def conditional_accuracy(probabilities: AnyArray, labels: AnyArray) -> Array:
    """The share of samples that a classifier takes for the class that was asked for.

    Args:
      probabilities: of the classes for each sample, [n, classes].
      labels: that were asked for, integers [n].

    Returns:
      A scalar in [0, 1].

    Raises:
      ValueError: as `classifier_score`, or labels that are no integers [n].

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
