"""Labels for both players: joined to the noise, projected in the critic.

A conditional sample is a pair (image[n, ...], label[n] of integers), and so is
the latent of a conditional generator, (noise[n, ...], label[n]).
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from wgan_jax.networks.spectral import maybe_spectral_norm
from wgan_jax.types import Array, PyTree


def split_label(x: PyTree, num_classes: int, name: str) -> tuple[Array, Array | None]:
    """The input of a network and its label, None where the network is not conditional.

    Raises:
      ValueError: `num_classes` is negative; labels are missing where they are
        needed, or given where they are not; labels are no integers [batch].

    Example:
      >>> import jax.numpy as jnp
      >>> split_label(jnp.ones((2, 3)), 10, "MLP")
      Traceback (most recent call last):
      ValueError: MLP with num_classes=10 takes a pair (x[batch, ...], label[batch] ...
    """
    if num_classes < 0:
        raise ValueError(f"num_classes must not be negative, got {num_classes}")
    shapes = jax.tree.map(lambda leaf: f"{leaf.dtype}{list(leaf.shape)}", x)
    if num_classes == 0:
        if isinstance(x, tuple | list):
            raise ValueError(f"{name} got a pair {shapes}, but is not conditional: num_classes=0")
        return x, None
    pair = isinstance(x, tuple | list) and len(x) == 2
    if not pair or x[1].shape != x[0].shape[:1] or not jnp.issubdtype(x[1].dtype, jnp.integer):
        raise ValueError(
            f"{name} with num_classes={num_classes} takes a pair (x[batch, ...], label[batch] "
            f"of integers), but labels are missing or of another kind: got {shapes}"
        )
    return x[0], x[1]


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
