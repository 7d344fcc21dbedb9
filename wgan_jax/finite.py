"""The former path of `wgan_jax.transforms.finite`, for one version."""

from wgan_jax.transforms.finite import *  # noqa: F403
