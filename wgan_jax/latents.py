"""Latent distributions, each `(key, n) -> z[n, dim]`."""

from __future__ import annotations

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.types import Array, PyTree


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
    """Dimension of the latent space."""

    def __post_init__(self) -> None:
        _check_dim(self.dim)

    def __call__(self, key: Array, n: int) -> Array:
        return jax.random.normal(key, (n, self.dim))

    def truncated(self, key: Array, n: int, bound: float) -> Array:
        """Sample z with every value in [-bound, bound], the truncation trick of BigGAN.

        Improves the quality of samples at the cost of their variety.

        Example:
          >>> bool(abs(Normal().truncated(jax.random.key(0), 5, 0.5)).max() <= 0.5)
          True

        References:
          Brock, Donahue and Simonyan, Large Scale GAN Training for High Fidelity
          Natural Image Synthesis, 2019, section 3.1.
        """
        return jax.random.truncated_normal(key, -bound, bound, (n, self.dim))

    def interpolate(self, a: Array, b: Array, t: Array) -> Array:
        """Interpolate latents from a to b [n, dim] along an arc, at t [n] in [0, 1].

        Their direction moves along a great circle, their length evenly. On a straight line
        they would be shorter than the latents of training.

        Example:
          >>> a, b = jnp.array([[2.0, 0.0]]), jnp.array([[0.0, 2.0]])
          >>> Normal(dim=2).interpolate(a, b, jnp.array([0.5])).round(3).tolist()
          [[1.4140000343322754, 1.4140000343322754]]

        References:
          Shoemake, Animating rotation with quaternion curves, 1985.
        """
        t = t[:, None]

        def length(z: Array) -> Array:
            return jnp.linalg.norm(z, axis=1, keepdims=True)

        def unit(z: Array) -> Array:
            return z / jnp.maximum(length(z), 1e-12)

        angle = jnp.arccos(jnp.clip((unit(a) * unit(b)).sum(1, keepdims=True), -1, 1))
        arc = jnp.sin((1 - t) * angle) * unit(a) + jnp.sin(t * angle) * unit(b)
        curved = ((1 - t) * length(a) + t * length(b)) * unit(arc)
        return jnp.where(jnp.sin(angle) > 1e-3, curved, (1 - t) * a + t * b)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Uniform:
    """z ~ U[-1, 1]^dim, as in DCGAN.

    Example:
      >>> Uniform(dim=3)(jax.random.key(0), 2).shape
      (2, 3)
    """

    dim: int = 100
    """Dimension of the latent space."""

    def __post_init__(self) -> None:
        _check_dim(self.dim)

    def __call__(self, key: Array, n: int) -> Array:
        return jax.random.uniform(key, (n, self.dim), minval=-1.0)

    def truncated(self, key: Array, n: int, bound: float) -> Array:
        """Sample z ~ U[-bound, bound]^dim; bounds above 1 count as 1."""
        return min(bound, 1.0) * self(key, n)

    def interpolate(self, a: Array, b: Array, t: Array) -> Array:
        """Interpolate latents from a to b [n, dim] along a straight line, at t [n] in [0, 1]."""
        return (1 - t[:, None]) * a + t[:, None] * b


@dataclasses.dataclass(frozen=True, kw_only=True)
class Labelled:
    """Noise and the label to generate, (noise[n, dim], label[n]).

    Labels of fakes should be as frequent as in the data. Otherwise a critic that compares
    pairs distinguishes them by the label alone, and classes without examples are trained.

    Example:
      >>> noise, label = Labelled(noise=Normal(dim=3), num_classes=10)(jax.random.key(0), 2)
      >>> noise.shape, label.shape, label.dtype.name
      ((2, 3), (2,), 'int32')
      >>> _, label = Labelled(num_classes=3, counts=(0, 95, 5))(jax.random.key(0), 1_000)
      >>> bool((label == 1).mean() > 0.9), bool((label == 0).any())
      (True, False)
    """

    noise: Normal | Uniform = Normal()
    """Distribution of the latent without its label."""
    num_classes: int = 10
    """Number of classes; labels are 0 to num_classes - 1."""
    counts: tuple[int, ...] = ()
    """Number of examples per class in the data; labels are drawn in these proportions, or
    uniformly if empty."""

    def __post_init__(self) -> None:
        if self.num_classes < 1:
            raise ValueError(f"num_classes must be at least 1, got {self.num_classes}")
        counts = self.counts
        if counts and (len(counts) != self.num_classes or min(counts) < 0 or max(counts) < 1):
            raise ValueError(
                f"counts must be of {self.num_classes} classes, none negative and not all 0, "
                f"got {len(counts)}: {counts!s:.60}"
            )
        if sum(counts) >= 2**31:
            raise ValueError(f"counts must add up to less than 2^31, got {sum(counts)}")

    def __call__(self, key: Array, n: int) -> tuple[Array, Array]:
        noise_key, label_key = jax.random.split(key)
        return self.noise(noise_key, n), self.label(label_key, n)

    def label(self, key: Array, n: int) -> Array:
        """Draw labels, int32 [n]."""
        if not self.counts:
            return jax.random.randint(key, (n,), 0, self.num_classes)
        # The class of a random example, with examples sorted by class: exact proportions.
        ends = np.cumsum(np.asarray(self.counts) // math.gcd(*self.counts)).astype(np.int32)
        i = jax.random.randint(key, (n,), 0, ends[-1])
        return (i[:, None] >= ends[None, :]).sum(1, dtype=jnp.int32)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Conditioned:
    """Noise and a condition from the data, (noise[n, dim], condition).

    Conditions are rows of the data, so their values, and labels if any, have the same joint
    distribution as in the data.

    Example:
      >>> latent = Conditioned(noise=Normal(dim=3), rows=np.array([[0.5, 1.0]], np.float32))
      >>> noise, condition = latent(jax.random.key(0), 2)
      >>> noise.shape, condition.tolist()
      ((2, 3), [[0.5, 1.0], [0.5, 1.0]])
    """

    noise: Normal | Uniform = dataclasses.field(default=Normal(), metadata={"static": True})
    """Distribution of the latent without its condition."""
    rows: PyTree
    """Condition vectors [m, k], or pairs of labels [m] and vectors."""

    def __call__(self, key: Array, n: int) -> tuple[Array, PyTree]:
        noise_key, row_key = jax.random.split(key)
        return self.noise(noise_key, n), self.condition(row_key, n)

    def condition(self, key: Array, n: int) -> PyTree:
        """Draw the conditions of `n` rows of the data independently."""
        i = jax.random.randint(key, (n,), 0, len(jax.tree.leaves(self.rows)[0]))
        return jax.tree.map(lambda x: jnp.asarray(x)[i], self.rows)
