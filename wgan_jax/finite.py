"""Former path of `wgan_jax.transforms.finite`, kept for one version."""

from wgan_jax.transforms.finite import *  # noqa: F403
