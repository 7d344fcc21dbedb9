"""The former path of `wgan_jax.transforms.ema`, for one version."""

from wgan_jax.transforms.ema import *  # noqa: F403
