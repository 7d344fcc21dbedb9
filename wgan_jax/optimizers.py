"""The former path of `wgan_jax.transforms.optimizers`, for one version."""

from wgan_jax.transforms.optimizers import *  # noqa: F403
