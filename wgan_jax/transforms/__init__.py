"""Optax transforms and optimizers: weight clipping, averaged weights, steps that are skipped."""
