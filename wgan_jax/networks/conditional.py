"""Conditions for both players: beside the noise, projected in the critic.

A conditional sample is a pair (image[n, ...], condition), and so is the latent of a conditional
generator, (noise[n, ...], condition). A condition is label[n] of integers, a vector[n, k] of
floats, or both as (label, vector).
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
    """The input of a network and its condition, None where the network is not conditional.

    Raises:
      ValueError: `num_classes` or `condition_dim` is negative; conditions are missing where they
        are needed, or given where they are not; labels are no integers [batch], or vectors no
        floats [batch, condition_dim].

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
    wanted = f"condition[batch, {condition_dim}]"
    wanted = f"(label[batch], {wanted})" if num_classes else wanted
    parts = (None, None)
    if is_pair:
        two = isinstance(x[1], tuple | list) and len(x[1]) == 2
        parts = tuple(x[1]) if num_classes and two else (None, x[1])
    label, vector = parts
    is_vector = getattr(vector, "shape", None) == (*jax.tree.leaves(x)[0].shape[:1], condition_dim)
    if not is_vector or (num_classes and not _is_label(label, x[0])):
        raise ValueError(
            f"{name} with num_classes={num_classes} and condition_dim={condition_dim} takes a pair "
            f"(x[batch, ...], {wanted}), got {shapes}"
        )
    return x[0], x[1]


def _is_label(label: Any, x: Array) -> bool:
    shape, dtype = getattr(label, "shape", None), getattr(label, "dtype", np.dtype("float32"))
    return shape == x.shape[:1] and jnp.issubdtype(dtype, jnp.integer)


def label_and_vector(condition: PyTree | None) -> tuple[Array | None, Array | None]:
    """The two parts of a condition, of which either may be missing."""
    leaves = jax.tree.leaves(condition)
    labels = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.integer)]
    vectors = [leaf for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return (labels[0] if labels else None), (vectors[0] if vectors else None)


def concat_condition(z: Array, condition: PyTree | None, num_classes: int) -> Array:
    """Noise [n, d] with an embedding of the label and the vector beside it, where there are any.

    To be called inside a compact module.
    """
    label, vector = label_and_vector(condition)
    return concat_vector(embed_and_concat(z, label, num_classes), vector)


def concat_vector(x: Array, vector: Array | None) -> Array:
    """Flat inputs [n, d] with the vector [n, k] beside them; as they are without one."""
    return x if vector is None else jnp.concatenate([x, vector.astype(x.dtype)], -1)


def embed_and_concat(z: Array, label: Array | None, num_classes: int) -> Array:
    """Noise [n, d] with a learned embedding of the label beside it, [n, 2 d].

    The embedding is as wide as the noise and starts as normal as it, so that
    the label weighs as much. To be called inside a compact module; without a
    label the noise is returned.
    """
    if label is None:
        return z
    embedding = nn.Embed(num_classes, z.shape[-1], embedding_init=nn.initializers.normal(1.0))
    return jnp.concatenate([z, embedding(label).astype(z.dtype)], -1)


def label_projection(
    features: Array, label: Array | None, num_classes: int, *, spectral_norm: bool, train: bool
) -> Array:
    """What a projection critic adds to the score, <embedding(label), features>, as [n, 1].

    To be called inside a compact module; 0 without a label.

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
    """What a projection critic adds to the score for a label and a vector, as [n, 1].

    A vector goes through a hidden layer to a direction, as a label through its embedding, and to a
    score of its own. To be called inside a compact module; 0 without a condition.
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
    direction = dense(features.shape[-1], hidden) / features.shape[-1] ** 0.5
    return score + (direction * features).sum(-1, keepdims=True) + dense(1, hidden)
