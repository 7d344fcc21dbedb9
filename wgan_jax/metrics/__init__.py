"""Measures of samples against data."""

from wgan_jax.metrics.coverage import Coverage, mode_coverage

__all__ = ["Coverage", "mode_coverage"]
