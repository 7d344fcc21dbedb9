"""Conditioning of both players: concatenated to the noise, projected in the critic.

A conditional sample is a pair (image[n, ...], condition), and the latent of a conditional
generator a pair (noise[n, ...], condition). A condition is an integer label[n], a float
vector[n, k], or both as (label, vector).
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.networks.spectral import maybe_spectral_norm
from wgan_jax.types import Array, PyTree

_HIDDEN = 64


def split_condition(
    x: PyTree, num_classes: int, condition_dim: int, name: str
) -> tuple[Array, PyTree | None]:
    """Split a network's input from its condition, which is None if it is not conditional.

    Raises:
      ValueError: `num_classes` or `condition_dim` is negative; conditions are missing, or given
        to an unconditional network; labels are not integers [batch], or vectors do not have the
        shape [batch, condition_dim].

    Example:
      >>> import jax.numpy as jnp
      >>> split_condition(jnp.ones((2, 3)), 10, 0, "MLP")
      Traceback (most recent call last):
      ValueError: MLP with num_classes=10 takes a pair (x[batch, ...], label[batch] ...
    """
    if num_classes < 0:
        raise ValueError(f"num_classes must not be negative, got {num_classes}")
    if condition_dim < 0:
        raise ValueError(f"condition_dim must not be negative, got {condition_dim}")
    shapes = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", x)
    is_pair = isinstance(x, tuple | list) and len(x) == 2
    if not num_classes and not condition_dim:
        if isinstance(x, tuple | list):
            raise ValueError(
                f"{name} got a pair {shapes}, but is not conditional: num_classes=0, "
                "condition_dim=0"
            )
        return x, None
    if not condition_dim:
        if not is_pair or not _is_label(x[1], x[0]):
            raise ValueError(
                f"{name} with num_classes={num_classes} takes a pair (x[batch, ...], label[batch] "
                f"of integers), but labels are missing or of another kind: got {shapes}"
            )
        return x[0], x[1]
    expected = f"condition[batch, {condition_dim}]"
    expected = f"(label[batch], {expected})" if num_classes else expected
    condition = (None, None)
    if is_pair:
        has_two = isinstance(x[1], tuple | list) and len(x[1]) == 2
        condition = tuple(x[1]) if num_classes and has_two else (None, x[1])
    label, vector = condition
    is_vector = getattr(vector, "shape", None) == (*jax.tree.leaves(x)[0].shape[:1], condition_dim)
    if not is_vector or (num_classes and not _is_label(label, x[0])):
        raise ValueError(
            f"{name} with num_classes={num_classes} and condition_dim={condition_dim} takes a pair "
            f"(x[batch, ...], {expected}), got {shapes}"
        )
    return x[0], x[1]


def _is_label(label: Any, x: Array) -> bool:
    shape, dtype = getattr(label, "shape", None), getattr(label, "dtype", np.dtype("float32"))
    return shape == x.shape[:1] and jnp.issubdtype(dtype, jnp.integer)


def label_and_vector(condition: PyTree | None) -> tuple[Array | None, Array | None]:
    """Split a condition into label and vector, each None if missing."""
    leaves = jax.tree.leaves(condition)
    labels = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.integer)]
    vectors = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return (labels[0] if labels else None), (vectors[0] if vectors else None)


def concat_condition(z: Array, condition: PyTree | None, num_classes: int) -> Array:
    """Concatenate noise [n, d] with the vector and an embedding of the label, if present.

    Call it inside a compact module.
    """
    label, vector = label_and_vector(condition)
    return concat_vector(embed_and_concat(z, label, num_classes), vector)


def concat_vector(x: Array, vector: Array | None) -> Array:
    """Concatenate flat inputs [n, d] with the vector [n, k], if present."""
    return x if vector is None else jnp.concatenate([x, vector.astype(x.dtype)], -1)


def embed_and_concat(z: Array, label: Array | None, num_classes: int) -> Array:
    """Concatenate noise [n, d] with a learned embedding of the label to [n, 2 d].

    The embedding is as wide as the noise and initialized from N(0, 1/d), to a length of about 1.
    Call it inside a compact module; without a label the noise is returned.
    """
    if label is None:
        return z
    # All rows of a class share its embedding. As long as the noise, it outruns the noise in
    # training, and DCGAN draws one picture for each class of CIFAR-10.
    width = z.shape[-1]
    embedding = nn.Embed(num_classes, width, embedding_init=nn.initializers.normal(width**-0.5))
    return jnp.concatenate([z, embedding(label).astype(z.dtype)], -1)


def label_projection(
    features: Array, label: Array | None, num_classes: int, *, spectral_norm: bool, train: bool
) -> Array:
    """Return a projection critic's term of the score, <embedding(label), features> [n, 1].

    Call it inside a compact module; 0 without a label.

    References:
      Miyato and Koyama, cGANs with Projection Discriminator, 2018, equation 4.
    """
    if label is None:
        return jnp.zeros((), features.dtype).reshape(1, 1)
    embedding = nn.Embed(
        num_classes, features.shape[-1], embedding_init=nn.initializers.normal(0.02)
    )
    direction = maybe_spectral_norm(embedding, spectral_norm, train=train)(label).astype(
        features.dtype
    )
    return (direction * features).sum(-1, keepdims=True)


def condition_projection(
    features: Array,
    condition: PyTree | None,
    num_classes: int,
    *,
    spectral_norm: bool,
    train: bool,
) -> Array:
    """Return a projection critic's term of the score for a label and a vector, as [n, 1].

    A hidden layer maps the vector to a direction, in place of an embedding, and to a score of
    its own. Call it inside a compact module; 0 without a condition.
    """
    label, vector = label_and_vector(condition)
    score = label_projection(features, label, num_classes, spectral_norm=spectral_norm, train=train)
    if vector is None:
        return score

    def dense(width: int, x: Array) -> Array:
        return maybe_spectral_norm(
            nn.Dense(width, dtype=features.dtype), spectral_norm, train=train
        )(x)

    hidden = nn.leaky_relu(dense(_HIDDEN, vector.astype(features.dtype)), 0.2)
    direction = dense(features.shape[-1], hidden)
    if not spectral_norm:  # normalized weights are small already, and cannot grow
        direction = direction / features.shape[-1] ** 0.5
    return score + (direction * features).sum(-1, keepdims=True) + dense(1, hidden)
