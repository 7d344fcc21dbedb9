"""What generators start from: distributions of latents, each `(key, n) -> z[n, dim]`."""

from __future__ import annotations

import dataclasses

import jax

from wgan_jax.types import Array


def _check_dim(dim: int) -> None:
    if dim < 1:
        raise ValueError(f"the latent dimension must be at least 1, got {dim}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Normal:
    """z ~ N(0, I), as in the paper.

    Example:
      >>> Normal(dim=3)(jax.random.key(0), 2).shape
      (2, 3)
    """

    dim: int = 100
    """Length of a latent."""

    def __post_init__(self) -> None:
        _check_dim(self.dim)

    def __call__(self, key: Array, n: int) -> Array:
        return jax.random.normal(key, (n, self.dim))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uniform:
    """z ~ U[-1, 1]^dim, as in DCGAN.

    Example:
      >>> Uniform(dim=3)(jax.random.key(0), 2).shape
      (2, 3)
    """

    dim: int = 100
    """Length of a latent."""

    def __post_init__(self) -> None:
        _check_dim(self.dim)

    def __call__(self, key: Array, n: int) -> Array:
        return jax.random.uniform(key, (n, self.dim), minval=-1.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labelled:
    """Noise with the label to be made beside it, (noise[n, dim], label[n]), each class as likely.

    Example:
      >>> noise, label = Labelled(noise=Normal(dim=3), num_classes=10)(jax.random.key(0), 2)
      >>> noise.shape, label.shape, label.dtype.name
      ((2, 3), (2,), 'int32')
    """

    noise: Normal | Uniform = Normal()
    """Of the pair."""
    num_classes: int = 10
    """Labels are 0 to num_classes - 1."""

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")

    def __call__(self, key: Array, n: int) -> tuple[Array, Array]:
        on_noise, on_label = jax.random.split(key)
        return self.noise(on_noise, n), jax.random.randint(on_label, (n,), 0, self.num_classes)
