"""Spectral normalization, a Lipschitz bound on each layer of a critic."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn

from wgan_jax.types import Array

COLLECTION = "spectral_stats"


def maybe_spectral_norm(layer: nn.Module, wanted: bool, *, train: bool) -> Callable[..., Array]:
    """A layer whose weight is divided by an estimate of its largest singular value.

    Kernels of convolutions are taken as matrices [window x window x in, out], as in the
    paper. Each call in training does one step of power iteration. The vectors
    and values are kept in the collection `spectral_stats`; they come from the weights
    alone, so that scores stay independent of one another.

    Args:
      layer: made inside a compact module; its weights keep their place there.
      wanted: False returns the layer as it is.
      train: go on with the power iteration.

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
