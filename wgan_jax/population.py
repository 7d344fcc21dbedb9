"""Many runs as one program: seeds and hyper-parameters side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh, PartitionSpec

from wgan_jax.gan import GAN
from wgan_jax.loop import Sampler, as_pytree, scan_steps
from wgan_jax.types import Array, GANState, Metrics, PyTree


class Population(NamedTuple):
    """Runs that share their shapes; `m` members differ in key and hyper-parameters.

    Attributes:
      init: `(keys [m], hypers, real[batch, ...]) -> states`, every leaf led by [m].
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
    """Train many GANs in one program, each as it would train alone.

    Members are batched with `vmap` on accelerators, where small networks leave
    most of the device idle, and follow each other with `lax.map` on CPU, where one
    alone keeps the cores busy. Several devices share them out evenly.

    Args:
      make: hyper-parameters of one member, a pytree of traced scalars, to its `GAN`.
        Learning rates, clipping values and weights of penalties may be traced;
        what sets a shape may not.
      n_critic: critic steps per generator iteration.
      batch_size: samples per step.
      length: generator iterations of one `run`.
      devices: to share the members among, all by default. The most that divide
        the members evenly are used.

    Returns:
      A `Population`, jitted. Hyper-parameters are a pytree whose leaves are led by
      [m], or None where members differ in their keys alone.

    Raises:
      ValueError: a size below 1, or leaves that are not led by one number of members.

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
    for name, value in sizes.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")

    def init(keys: Array, hypers: PyTree, real: PyTree) -> GANState:
        def one(member: tuple[Array, PyTree], real: PyTree) -> GANState:
            return make(member[1]).init(member[0], real)

        return each_member(one, (keys, hypers), real, devices)

    def run(states: GANState, hypers: PyTree, sampler: Any) -> tuple[GANState, Metrics]:
        def one(member: tuple[GANState, PyTree], sampler: Any) -> tuple[GANState, Metrics]:
            return scan_steps(make(member[1]), **sizes)(member[0], sampler)

        return each_member(one, (states, hypers), sampler, devices)

    compiled = jax.jit(run)
    return Population(
        init=jax.jit(init),
        run=lambda states, hypers, sampler: compiled(states, hypers, as_pytree(sampler)),
    )


def members_of(tree: PyTree) -> int:
    """How many members the leaves of `tree` are led by.

    Raises:
      ValueError: there are no leaves, or they do not agree.
    """
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
    counts = {shape[:1] for shape in shapes}
    if len(counts) != 1 or counts == {()} or counts == {(0,)}:
        raise ValueError(
            f"a population needs leaves led by one number of members, got shapes {shapes}"
        )
    return counts.pop()[0]


def each_member(
    one: Callable[[Any, Any], Any],
    members: PyTree,
    shared: PyTree,
    devices: Sequence[jax.Device] | None = None,
) -> Any:
    """`one(member, shared)` for every member, as `population` runs them.

    Args:
      one: a pure function of a member, any pytree, and of what members share.
      members: pytrees whose leaves are led by [m].
      shared: a pytree that all members see.
      devices: as of `population`.

    Raises:
      ValueError: leaves that are not led by one number of members.

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
    at_hand = jax.devices() if devices is None else devices
    used = max(n for n in range(1, len(at_hand) + 1) if count % n == 0)
    if used == 1:
        return batched(members, shared)
    mesh = Mesh(np.array(at_hand[:used]), ("member",))
    by_member = PartitionSpec("member")
    # Members do not speak to each other: nothing is to be checked, and what a network computes in
    # another way on another platform (`lax.platform_dependent`) would not pass the check.
    spread = jax.shard_map(
        batched,
        mesh=mesh,
        in_specs=(by_member, PartitionSpec()),
        out_specs=by_member,
        check_vma=False,
    )
    return spread(members, shared)


def _swapped(one: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    return lambda shared, member: one(member, shared)
