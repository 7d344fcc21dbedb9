"""Optax transforms and optimizers: weight clipping, weight averaging, skipping of bad steps."""
