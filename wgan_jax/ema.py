"""Former path of `wgan_jax.transforms.ema`, kept for one version."""

from wgan_jax.transforms.ema import *  # noqa: F403
