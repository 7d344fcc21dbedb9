"""Generators and critics, as Flax Linen modules (NHWC)."""

from wgan_jax.networks.dcgan import DCGANCritic, DCGANGenerator
from wgan_jax.networks.mlp import MLP
from wgan_jax.networks.resnet import ResNetCritic, ResNetGenerator

__all__ = ["MLP", "DCGANCritic", "DCGANGenerator", "ResNetCritic", "ResNetGenerator"]
