"""Former path of `wgan_jax.transforms.optimizers`, kept for one version."""

from wgan_jax.transforms.optimizers import *  # noqa: F403
