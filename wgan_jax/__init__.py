"""Wasserstein GANs as pure functions, in JAX and Flax."""

from wgan_jax.clipping import all_but_norms, clip_weights, project_weights
from wgan_jax.data import toy
from wgan_jax.gan import GAN, gan
from wgan_jax.loop import scan_steps
from wgan_jax.networks import MLP, DCGANCritic, DCGANGenerator
from wgan_jax.objectives import Wasserstein
from wgan_jax.types import GANState, Network, Player, Step, from_linen

__version__ = "0.1.0"

__all__ = [
    "GAN",
    "MLP",
    "DCGANCritic",
    "DCGANGenerator",
    "GANState",
    "Network",
    "Player",
    "Step",
    "Wasserstein",
    "all_but_norms",
    "clip_weights",
    "from_linen",
    "gan",
    "project_weights",
    "scan_steps",
    "toy",
]
