"""Many generator iterations as one program that samples its own data."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from wgan_jax.algorithm import batch_size_of
from wgan_jax.gan import GAN
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.types import Array, GANState, Metrics, PyTree

Sampler = Callable[[Array, int], PyTree]


def scan_steps(
    gan: GAN, *, n_critic: int, batch_size: int, length: int
) -> Callable[[GANState, Sampler], tuple[GANState, Metrics]]:
    """Run `length` generator iterations of `n_critic` critic steps each, in one dispatch.

    Shapes determine the schedule: another `n_critic`, such as 100 in the paper's
    warm-up, compiles another program. A run does not depend on how it is split
    into chunks, since every draw is keyed by the step and not by the chunk.

    Args:
      gan: from `wgan_jax.gan`.
      n_critic: critic steps per generator iteration, at least 1.
      batch_size: samples per step.
      length: generator iterations.

    Returns:
      A jitted `(state, sampler) -> (state, metrics)` with metrics stacked to
      [length]. A sampler is a callable pytree `(key, n) -> real[n, ...]`, so that
      a dataset on the device is an argument and not a constant of the program;
      plain functions are wrapped. If a sampler also has `.at(key, step, n)`, like
      `data.ArrayDataset`, that method provides the batch of each step instead.

      To donate the buffers of the old state, jit it again with `donate_argnums=0`, and
      wrap a plain function in `jax.tree_util.Partial` to pass it.

    Raises:
      ValueError: a size is not a positive integer; when called, the sampler is not a
        function, or returns another number of samples than `batch_size`.

    Example:
      >>> import jax, optax
      >>> from wgan_jax import MLP, Wasserstein, clip_weights, from_linen, gan, toy
      >>> model = gan(
      ...     from_linen(MLP(features=(32,), output_shape=(2,))),
      ...     from_linen(MLP(features=(32,))),
      ...     Wasserstein(),
      ...     generator_tx=optax.rmsprop(5e-5),
      ...     critic_tx=optax.chain(optax.rmsprop(5e-5), clip_weights(0.01)),
      ...     latent=lambda key, n: jax.random.normal(key, (n, 2)),
      ... )
      >>> ring = toy.Ring()
      >>> state = model.init(jax.random.key(0), ring(jax.random.key(1), 64))
      >>> run = scan_steps(model, n_critic=5, batch_size=64, length=10)
      >>> state, metrics = run(state, ring)
      >>> int(state.step), metrics["critic/estimate"].shape
      (10, (10,))
    """
    check_sizes(n_critic=n_critic, batch_size=batch_size, length=length)

    @jax.jit
    def chunk(state: GANState, sampler: Any) -> tuple[GANState, Metrics]:
        def iteration(state: GANState, _: None) -> tuple[GANState, Metrics]:
            steps = state.step.critic + jnp.arange(n_critic, dtype=jnp.int32)
            reals = jax.vmap(lambda step: sample_batch(sampler, state.key, step, batch_size))(steps)
            return gan.train_step(state, reals)

        return lax.scan(iteration, state, length=length)

    def run(state: GANState, sampler: Sampler) -> tuple[GANState, Metrics]:
        return chunk(state, as_pytree(sampler))

    return run


def check_sizes(at_least: int = 1, **sizes: int) -> None:
    """Reject sizes that are too small, and fractions, which `arange` rounds up and `scan` down.

    Raises:
      ValueError: names the first size that is not an integer of at least `at_least`.

    Example:
      >>> check_sizes(n_critic=5, length=2.5)
      Traceback (most recent call last):
      ValueError: length must be an integer of at least 1, got 2.5
    """
    for name, value in sizes.items():
        if not hasattr(value, "__index__") or value < at_least:
            raise ValueError(f"{name} must be an integer of at least {at_least}, got {value!r}")


def sample_batch(sampler: Any, root: Array, step: Array, n: int) -> PyTree:
    """Return the `n` real samples of one critic step.

    Raises:
      ValueError: the sampler returns another number of them.
    """
    if hasattr(sampler, "at"):
        real = sampler.at(derive_key(root, Purpose.CRITIC_DATA), step, n)
    else:
        real = sampler(derive_key(root, Purpose.CRITIC_DATA, step), n)
    if (count := batch_size_of(real)) != n:
        raise ValueError(f"the sampler was asked for {n} samples, but returned {count}")
    return real


def shuffle_rows(key: Array, x: PyTree) -> PyTree:
    """Shuffle the rows of a pytree of arrays [n, ...], all leaves in the same order."""
    order = jax.random.permutation(key, len(jax.tree.leaves(x)[0]))
    return jax.tree.map(lambda leaf: leaf[order], x)


def as_pytree(sampler: Sampler) -> Any:
    """Wrap a sampler as a pytree that compiled programs take as an argument, keeping `.at`.

    Raises:
      ValueError: it is not a function, as an array is not, whose `.at` is another.

    Example:
      >>> class Constant:  # not registered as a pytree
      ...     def at(self, key, step, n):
      ...         return jnp.full((n, 2), step)
      ...     def __call__(self, key, n):
      ...         return jnp.zeros((n, 2))
      >>> as_pytree(Constant()).at(jax.random.key(0), 3, 1).tolist()
      [[3, 3]]
    """
    if not callable(getattr(sampler, "at", sampler)):
        raise ValueError(
            "expected a function, such as a sampler (key, n) -> real[n, ...], "
            f"got {type(sampler).__name__}"
        )
    if not jax.tree_util.treedef_is_leaf(jax.tree.structure(sampler)):
        return sampler
    return _SteppedPartial(sampler) if hasattr(sampler, "at") else jax.tree_util.Partial(sampler)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _SteppedPartial:
    """Static wrapper of a sampler with `.at` that is not a pytree."""

    sampler: Any = dataclasses.field(metadata={"static": True})

    def __call__(self, key: Array, n: int) -> PyTree:
        return self.sampler(key, n)

    def at(self, key: Array, step: Array, n: int) -> PyTree:
        return self.sampler.at(key, step, n)
