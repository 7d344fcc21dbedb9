"""Distances between distributions: closed forms, exact transport, slices and divergences."""

from wgan_jax.distances.closed_form import (
    w1_gaussians,
    w1_on_grid,
    w1_sorted,
    w1_spheres,
    w1_translation,
)
from wgan_jax.distances.divergences import js, kl, total_variation
from wgan_jax.distances.exact import exact_w1, w1_floor
from wgan_jax.distances.sliced import max_sliced_w1, sliced_w1

__all__ = [
    "exact_w1",
    "js",
    "kl",
    "max_sliced_w1",
    "sliced_w1",
    "total_variation",
    "w1_floor",
    "w1_gaussians",
    "w1_on_grid",
    "w1_sorted",
    "w1_spheres",
    "w1_translation",
]
