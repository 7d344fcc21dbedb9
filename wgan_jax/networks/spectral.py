"""Spectral normalization, a Lipschitz bound for each layer of a critic."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn

from wgan_jax.types import Array

COLLECTION = "spectral_stats"


def maybe_spectral_norm(layer: nn.Module, wanted: bool, *, train: bool) -> Callable[..., Array]:
    """Divide a layer's weight by an estimate of its largest singular value.

    Convolution kernels are treated as matrices [window x window x in, out], as in the
    paper. Each call in training does one step of power iteration. Its vectors and
    values are kept in the collection `spectral_stats`; they depend on the weights
    alone, so that scores stay independent of one another.

    Args:
      layer: created inside a compact module, where its weights stay.
      wanted: if False, return the layer as is.
      train: whether to advance the power iteration.

    Example:
      >>> import flax.linen as nn, jax, jax.numpy as jnp
      >>> class Critic(nn.Module):
      ...     @nn.compact
      ...     def __call__(self, x, train=True):
      ...         return maybe_spectral_norm(nn.Dense(1), True, train=train)(x)
      >>> variables = Critic().init(jax.random.key(0), jnp.ones((2, 3)))
      >>> sorted(variables), list(variables["params"])
      (['params', 'spectral_stats'], ['Dense_0'])

    References:
      Miyato et al., Spectral Normalization for Generative Adversarial
      Networks, 2018, algorithm 1.
    """
    if not wanted:
        return layer
    normalized = nn.SpectralNorm(layer, collection_name=COLLECTION)
    return lambda x: normalized(x, update_stats=train)
