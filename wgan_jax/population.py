"""Many training runs in one program, over seeds and hyperparameters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from wgan_jax.gan import GAN
from wgan_jax.loop import Sampler, as_pytree, check_sizes, scan_steps
from wgan_jax.types import Array, GANState, Metrics, PyTree


class Population(NamedTuple):
    """Runs with equal shapes; the `m` members differ in keys and hyperparameters.

    Attributes:
      init: `(keys [m], hypers, real[batch, ...]) -> states`, every leaf with a
        leading axis [m].
      run: `(states, hypers, sampler) -> (states, metrics)`, metrics [m, length].
    """

    init: Callable[[Array, PyTree, PyTree], GANState]
    run: Callable[[GANState, PyTree, Sampler], tuple[GANState, Metrics]]


def population(
    make: Callable[[Any], GAN],
    *,
    n_critic: int,
    batch_size: int,
    length: int,
    devices: Sequence[jax.Device] | None = None,
) -> Population:
    """Train many GANs in one program, each as if trained alone.

    On accelerators, where small networks leave most of the device idle, members are
    batched with `vmap`. On CPU, where one keeps the cores busy, they run one after
    another with `lax.map`. Multiple devices split the members evenly.

    Args:
      make: maps the hyperparameters of a member, a pytree of traced scalars, to its
        `GAN`. Learning rates, clipping values and penalty weights may be traced;
        anything that sets a shape may not.
      n_critic: critic steps per generator iteration.
      batch_size: samples per step.
      length: generator iterations of one `run`.
      devices: devices to split the members over, all by default. The largest number
        that divides the members evenly is used.

    Returns:
      A jitted `Population`. Hyperparameters are a pytree whose leaves have a leading
      axis [m], or None if members differ only in their keys.

    Raises:
      ValueError: a size is not a positive integer, or leaves do not share a leading axis [m].

    Example:
      >>> import jax, jax.numpy as jnp, optax
      >>> from wgan_jax import MLP, Wasserstein, clip_weights, from_linen, gan, toy
      >>> def make(hyper):
      ...     return gan(
      ...         from_linen(MLP(features=(32,), output_shape=(2,))),
      ...         from_linen(MLP(features=(32,))),
      ...         Wasserstein(),
      ...         generator_tx=optax.rmsprop(hyper["rate"]),
      ...         critic_tx=optax.chain(optax.rmsprop(hyper["rate"]), clip_weights(hyper["c"])),
      ...         latent=lambda key, n: jax.random.normal(key, (n, 2)),
      ...     )
      >>> ring = toy.Ring()
      >>> hypers = {"rate": jnp.array([1e-4, 5e-4, 1e-3]), "c": jnp.array([0.01, 0.05, 0.1])}
      >>> many = population(make, n_critic=5, batch_size=64, length=10)
      >>> keys = jax.random.split(jax.random.key(0), 3)
      >>> states = many.init(keys, hypers, ring(jax.random.key(1), 64))
      >>> states, metrics = many.run(states, hypers, ring)
      >>> metrics["critic/estimate"].shape
      (3, 10)
    """
    sizes = {"n_critic": n_critic, "batch_size": batch_size, "length": length}
    check_sizes(**sizes)

    def init(keys: Array, hypers: PyTree, real: PyTree) -> GANState:
        def init_member(member: tuple[Array, PyTree], real: PyTree) -> GANState:
            return make(member[1]).init(member[0], real)

        return each_member(init_member, (keys, hypers), real, devices)

    def run(states: GANState, hypers: PyTree, sampler: Any) -> tuple[GANState, Metrics]:
        def run_member(member: tuple[GANState, PyTree], sampler: Any) -> tuple[GANState, Metrics]:
            return scan_steps(make(member[1]), **sizes)(member[0], sampler)

        return each_member(run_member, (states, hypers), sampler, devices)

    compiled = jax.jit(run)
    return Population(
        init=jax.jit(init),
        run=lambda states, hypers, sampler: compiled(states, hypers, as_pytree(sampler)),
    )


def members_of(tree: PyTree) -> int:
    """Return the number of members, the leading axis of all leaves of `tree`.

    Raises:
      ValueError: there are no leaves or members, or leading axes differ.
    """
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
    counts = {shape[:1] for shape in shapes}
    if len(counts) != 1 or counts == {()} or counts == {(0,)}:
        raise ValueError(
            f"the leaves of a population must share a leading axis of members, got shapes {shapes}"
        )
    return counts.pop()[0]


def each_member(
    one: Callable[[Any, Any], Any],
    members: PyTree,
    shared: PyTree,
    devices: Sequence[jax.Device] | None = None,
) -> Any:
    """Compute `one(member, shared)` for every member, as `population` does.

    Args:
      one: a pure function of a member, any pytree, and of what members share.
      members: a pytree whose leaves have a leading axis [m].
      shared: a pytree passed to every member.
      devices: as in `population`.

    Raises:
      ValueError: leaves do not share a leading axis [m].

    Example:
      >>> import jax.numpy as jnp
      >>> each_member(lambda x, y: x + y, jnp.array([1, 2, 3]), 10).tolist()
      [11, 12, 13]
    """

    def batched(members: PyTree, shared: PyTree) -> Any:
        return lax.platform_dependent(
            members,
            shared,
            cpu=lambda members, shared: lax.map(partial(_swapped(one), shared), members),
            default=lambda members, shared: jax.vmap(one, (0, None))(members, shared),
        )

    count = members_of(members)
    available = jax.devices() if devices is None else devices
    used = max(n for n in range(1, len(available) + 1) if count % n == 0)
    if used == 1:
        return batched(members, shared)
    mesh = Mesh(np.array(available[:used]), ("member",))
    by_member = PartitionSpec("member")
    # Members do not communicate, so there is nothing to check, and platform-dependent code of a
    # network (`lax.platform_dependent`) would fail the check.
    sharded = jax.shard_map(
        batched,
        mesh=mesh,
        in_specs=(by_member, PartitionSpec()),
        out_specs=by_member,
        check_vma=False,
    )
    return sharded(members, shared)


def _swapped(one: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda shared, member: one(member, shared)
