"""Former path of `wgan_jax.transforms.clipping`, kept for one version."""

from wgan_jax.transforms.clipping import *  # noqa: F403
