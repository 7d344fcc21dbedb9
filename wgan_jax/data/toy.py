"""Toy distributions in the plane, sampled inside the compiled program.

Each is a frozen dataclass, a static pytree and a sampler `(key, n) -> [n, 2]`
in float32. Mixtures also have `centers` and `std`, for counting modes.
"""

from __future__ import annotations

import dataclasses
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.data.dataset import DatasetConfig, Distribution, Mixture
from wgan_jax.types import Array

_MOST_MODES = 2**16  # they are constants of the compiled program


@partial(jax.jit, static_argnames="n", inline=True)
def _mixture(key: Array, centers: Array | np.ndarray, std: float, n: int) -> Array:
    on_mode, on_noise = jax.random.split(key)
    mode = jax.random.randint(on_mode, (n,), 0, len(centers))
    return jnp.asarray(centers)[mode] + std * jax.random.normal(on_noise, (n, 2))


class Toy(DatasetConfig, Distribution):
    """A distribution in the plane: both the config node and the sampler that it opens.

    Example:
      >>> Ring().open() == Ring(), Ring().size
      (True, None)
    """

    def open(self) -> Toy:
        return self

    def struct(self, n: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((n, *self.example_shape()), np.float32)

    def example_shape(self) -> tuple[int, ...]:
        return (2,)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, kw_only=True)
class Ring(Toy):
    """A ring of equal Gaussians, the first one on the positive horizontal axis.

    Example:
      >>> import jax
      >>> Ring()(jax.random.key(0), 5).shape
      (5, 2)

    References:
      Metz et al., Unrolled Generative Adversarial Networks, 2016: 8 modes, radius 2, std 0.02.
    """

    modes: int = 8
    """Number of Gaussians on the ring."""
    radius: float = 2.0
    """Radius of the ring."""
    std: float = 0.02
    """Standard deviation of each Gaussian."""

    def __post_init__(self) -> None:
        _check(self, modes=self.modes, radius=self.radius, std=self.std)
        _check_count(self, self.modes)

    @property
    def centers(self) -> np.ndarray:
        angles = 2 * np.pi * np.arange(self.modes) / self.modes
        return (self.radius * np.stack([np.cos(angles), np.sin(angles)], -1)).astype(np.float32)

    @property
    def mixture(self) -> Mixture:
        return Mixture(self.centers, self.std)

    def __call__(self, key: Array, n: int) -> Array:
        return _mixture(key, self.centers, self.std, n)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid(Toy):
    """A square grid of `side` x `side` equal Gaussians around the origin.

    Example:
      >>> import jax
      >>> Grid(side=3).centers.shape
      (9, 2)

    References:
      Lin et al., PacGAN, 2017: {-4, -2, 0, 2, 4}^2, std 0.05.
    """

    side: int = 5
    """Number of Gaussians along one side of the square."""
    spacing: float = 2.0
    """Distance between neighboring Gaussians."""
    std: float = 0.05
    """Standard deviation of each Gaussian."""

    def __post_init__(self) -> None:
        _check(self, side=self.side, spacing=self.spacing, std=self.std)
        _check_count(self, self.side**2)

    @property
    def centers(self) -> np.ndarray:
        line = self.spacing * (np.arange(self.side) - (self.side - 1) / 2)
        return np.stack(np.meshgrid(line, line), -1).reshape(-1, 2).astype(np.float32)

    @property
    def mixture(self) -> Mixture:
        return Mixture(self.centers, self.std)

    def __call__(self, key: Array, n: int) -> Array:
        return _mixture(key, self.centers, self.std, n)


@jax.tree_util.register_static
@dataclasses.dataclass(frozen=True, kw_only=True)
class SwissRoll(Toy):
    """A spiral of 1.5 turns with noise: t (cos t, sin t) for t from 1.5 pi to 4.5 pi.

    Example:
      >>> import jax
      >>> SwissRoll()(jax.random.key(0), 5).shape
      (5, 2)

    References:
      igul222/improved_wgan_training, gan_toy.py: noise 0.25, all divided by 7.5.
    """

    noise: float = 0.25
    """Standard deviation of the noise, before scaling."""
    scale: float = 7.5
    """Divisor of all coordinates, noise included."""

    def __post_init__(self) -> None:
        _check(self, noise=self.noise, scale=self.scale)

    def __call__(self, key: Array, n: int) -> Array:
        on_curve, on_noise = jax.random.split(key)
        t = 1.5 * math.pi * (1 + 2 * jax.random.uniform(on_curve, (n,)))
        curve = jnp.stack([t * jnp.cos(t), t * jnp.sin(t)], -1)
        return (curve + self.noise * jax.random.normal(on_noise, (n, 2))) / self.scale


def _check_count(toy: object, modes: int) -> None:
    if modes > _MOST_MODES:
        raise ValueError(f"{type(toy).__name__} has at most {_MOST_MODES:,} modes, got {modes}")


def _check(toy: object, **positive: float) -> None:
    for name, value in positive.items():
        if not value > 0:
            raise ValueError(f"{type(toy).__name__}.{name} must be positive, got {value}")
