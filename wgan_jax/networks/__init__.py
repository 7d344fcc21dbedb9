"""Generators and critics, as Flax Linen modules (NHWC)."""

from wgan_jax.networks.cones import Cones
from wgan_jax.networks.dcgan import DCGANCritic, DCGANGenerator
from wgan_jax.networks.groupsort import GroupSort
from wgan_jax.networks.mlp import MLP
from wgan_jax.networks.resnet import ResNetCritic, ResNetGenerator
from wgan_jax.networks.torch_weights import from_state_dict, to_state_dict

__all__ = [
    "MLP",
    "Cones",
    "DCGANCritic",
    "DCGANGenerator",
    "GroupSort",
    "ResNetCritic",
    "ResNetGenerator",
    "from_state_dict",
    "to_state_dict",
]
