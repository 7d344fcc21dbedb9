"""Generators and critics, as Flax Linen modules (NHWC)."""

from wgan_jax.networks.dcgan import DCGANCritic, DCGANGenerator
from wgan_jax.networks.mlp import MLP

__all__ = ["MLP", "DCGANCritic", "DCGANGenerator"]
