"""Data parallelism: one run on many devices, with sharded batches and a replicated state.

Plain `jit` does the rest. Losses and batch norm are means over the full batch
regardless of the number of devices, so a run is the same on one as on many, up
to the order in which floats are added.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from wgan_jax.loop import as_pytree
from wgan_jax.types import Array, PyTree

DATA = "data"


def data_mesh(devices: Sequence[jax.Device] | None = None) -> Mesh:
    """Return a mesh of all devices of all hosts along one axis `data`, ordered by host.

    Args:
      devices: use only these devices, in this order.

    Example:
      >>> data_mesh().axis_names
      ('data',)
    """
    if devices is None:
        devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices), (DATA,))


def shard_batches(
    sampler: Callable[[Array, int], PyTree], mesh: Mesh, *, strict: bool = True
) -> Callable[[Array, int], PyTree]:
    """Return a sampler whose samples are sharded over the `data` axis of a mesh.

    Computation follows the data: shard both the latent of `gan(latent=...)` and the
    sampler of `scan_steps`, and each device does its share of every step. The
    samples are those that a single device would draw.

    Args:
      sampler: `(key, n) -> x[n, ...]`, a latent or real samples; `n` must be a
        multiple of the number of devices along the axis.
      mesh: a mesh with an axis `data` of type Auto, from `data_mesh` or your own.
      strict: reject an `n` that does not divide evenly; otherwise such a batch is
        not sharded.

    Raises:
      ValueError: at trace time, if `n` does not divide evenly; immediately, if the
        mesh has no axis `data`, or one that is not of type Auto.

    Example:
      >>> import jax
      >>> mesh = data_mesh(jax.devices()[:1])
      >>> latent = shard_batches(lambda key, n: jax.random.normal(key, (n, 2)), mesh)
      >>> latent(jax.random.key(0), 8).shape
      (8, 2)
    """
    if DATA not in mesh.shape:
        raise ValueError(f"the mesh needs an axis {DATA!r}, but has {mesh.axis_names}")
    if mesh.axis_types[mesh.axis_names.index(DATA)] != AxisType.Auto:
        raise ValueError(
            f"the axis {DATA!r} of the mesh must be of type Auto, so that the compiler shards what "
            f"follows; pass jax.make_mesh axis_types=(AxisType.Auto,) * {len(mesh.shape)}, of "
            "jax.sharding"
        )
    kind = _ShardedBySteps if hasattr(sampler, "at") else _Sharded
    return kind(as_pytree(sampler), mesh, strict)


def check_divides(n: int, mesh: Mesh) -> None:
    """Reject a batch that does not divide evenly over the devices along `data`.

    Raises:
      ValueError: `n` is not a multiple of the number of devices.

    Example:
      >>> check_divides(8 * jax.device_count(), data_mesh())
    """
    count = mesh.shape[DATA]
    if n % count:
        raise ValueError(
            f"{count} devices cannot share a batch of {n} evenly; use a multiple of {count}"
        )


def replicated(tree: PyTree, mesh: Mesh) -> PyTree:
    """Replicate a pytree on every device of the mesh.

    If the mesh spans several hosts, each must call this with equal values.

    Example:
      >>> import jax.numpy as jnp
      >>> replicated({"w": jnp.ones(3)}, data_mesh())["w"].sharding.is_fully_replicated
      True
    """
    return device_put_global(
        tree, jax.tree.map(lambda _: NamedSharding(mesh, PartitionSpec()), tree)
    )


def fsdp_state(state: PyTree, mesh: Mesh, min_size: int = 2**16) -> PyTree:
    """Shard the large arrays of a state over the axis `data`.

    Weights and optimizer moments then take 1/n of the memory on each of n devices;
    the compiler gathers them where a layer needs them. Arrays with fewer than
    `min_size` elements, or no axis that divides evenly, are replicated.

    Args:
      state: a `GANState`, or any pytree of arrays.
      mesh: a mesh with an axis `data`.
      min_size: minimum number of elements of a sharded array.

    Example:
      >>> import jax.numpy as jnp
      >>> w = fsdp_state({"w": jnp.ones((512, 512))}, data_mesh())["w"]
      >>> w.sharding.spec == PartitionSpec("data") or jax.device_count() == 1
      True
    """
    return device_put_global(state, fsdp_shardings(state, mesh, min_size))


def fsdp_shardings(state: PyTree, mesh: Mesh, min_size: int = 2**16) -> PyTree:
    """Return the shardings of `fsdp_state`, from arrays or shapes, for `jit(out_shardings=)`.

    Example:
      >>> shapes = {"w": jax.ShapeDtypeStruct((512, 512), "float32")}
      >>> fsdp_shardings(shapes, data_mesh())["w"].mesh.axis_names
      ('data',)
    """
    count = mesh.shape[DATA]
    return jax.tree.map(lambda x: NamedSharding(mesh, _spec(x, count, min_size)), state)


def device_put_global(tree: PyTree, shardings: PyTree) -> PyTree:
    """Put a pytree on devices with the given shardings, also across hosts.

    Hosts that share a sharding must call this with equal values.

    Example:
      >>> import jax.numpy as jnp
      >>> tree = {"w": jnp.ones((512, 512))}
      >>> tree = device_put_global(tree, fsdp_shardings(tree, data_mesh()))
      >>> len(tree["w"].devices()) == jax.device_count()
      True
    """

    def place(x: Array, sharding: NamedSharding) -> Array:
        if sharding.is_fully_addressable:
            return jax.device_put(x, sharding)
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            data = place(jax.random.key_data(x), NamedSharding(sharding.mesh, PartitionSpec()))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        value = np.asarray(x)
        return jax.make_array_from_callback(value.shape, sharding, lambda index: value[index])

    return jax.tree.map(place, tree, shardings)


def gather(tree: PyTree) -> PyTree:
    """Gather a pytree on one device of this host, whatever its shardings.

    If the shardings span several hosts, each must call this.

    Example:
      >>> import jax.numpy as jnp
      >>> len(gather(fsdp_state({"w": jnp.ones((512, 512))}, data_mesh()))["w"].devices())
      1
    """

    def on_one_device(x: Array) -> Array:
        if not x.is_fully_replicated:
            assert isinstance(x.sharding, NamedSharding)
            everywhere = NamedSharding(x.sharding.mesh, PartitionSpec())
            x = jax.jit(_same, out_shardings=everywhere)(x)
        return x.addressable_data(0)

    return jax.tree.map(on_one_device, tree)


def _same(x: Array) -> Array:
    return x


def _spec(x: Array, count: int, min_size: int) -> PartitionSpec:
    """Shard the longest axis that `count` divides; replicate small arrays."""
    axes = [axis for axis, size in enumerate(x.shape) if size % count == 0]
    if x.size < min_size or not axes:
        return PartitionSpec()
    longest = max(axes, key=lambda axis: x.shape[axis])
    return PartitionSpec(*[None] * longest, DATA)


def sharded_state(state: PyTree, mesh: Mesh, least: int = 2**16) -> PyTree:
    """Call `fsdp_state` by its former name, kept for one version.

    Example:
      >>> import jax.numpy as jnp
      >>> sharded_state(jnp.ones(3), data_mesh()).shape
      (3,)
    """
    return fsdp_state(state, mesh, least)


# Former names, kept for one version.
spread, placed, whole, cut_shardings = shard_batches, device_put_global, gather, fsdp_shardings


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _Sharded:
    sampler: Any
    mesh: Mesh = dataclasses.field(metadata={"static": True})
    strict: bool = dataclasses.field(metadata={"static": True})

    def __call__(self, key: Array, n: int) -> PyTree:
        return self._constrain(self.sampler(key, n), n)

    def _constrain(self, batch: PyTree, n: int) -> PyTree:
        if not self.strict and n % self.mesh.shape[DATA]:
            return batch
        check_divides(n, self.mesh)
        sharding = NamedSharding(self.mesh, PartitionSpec(DATA))
        return jax.tree.map(lambda x: lax.with_sharding_constraint(x, sharding), batch)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class _ShardedBySteps(_Sharded):
    def at(self, key: Array, step: Array, n: int) -> PyTree:
        return self._constrain(self.sampler.at(key, step, n), n)
