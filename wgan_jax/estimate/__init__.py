"""W1 between two distributions, with bounds that hold."""

from wgan_jax.estimate.plot import plot_bounds
from wgan_jax.estimate.result import W1Estimate
from wgan_jax.estimate.w1 import estimate_w1

__all__ = ["W1Estimate", "estimate_w1", "plot_bounds"]
