"""The former path of `wgan_jax.transforms.clipping`, for one version."""

from wgan_jax.transforms.clipping import *  # noqa: F403
