"""Checks of the contract that every component of a GAN satisfies, for your components and ours.

Each check raises AssertionError for the first property that fails, with the offending values
and the likely cause. They need chex; `import wgan_jax` does not.
"""

from wgan_jax.testing.gan import check_gan
from wgan_jax.testing.network import check_network
from wgan_jax.testing.objective import check_objective
from wgan_jax.testing.optimizer import check_optimizer
from wgan_jax.testing.penalty import check_penalty
from wgan_jax.testing.sampler import check_sampler

__all__ = [
    "check_gan",
    "check_network",
    "check_objective",
    "check_optimizer",
    "check_penalty",
    "check_sampler",
]
