"""Sharding of a run: on one device, or with the batch sharded over all devices."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wgan_jax.data.stream import PreloadedBatches
from wgan_jax.errors import UserError
from wgan_jax.experiment.config import Config
from wgan_jax.sharding import (
    DATA,
    data_mesh,
    device_put_global,
    fsdp_shardings,
    gather,
    replicated,
    shard_batches,
)
from wgan_jax.types import GANState, PyTree

_MAX_CPU_DEVICES = 8


@dataclasses.dataclass(frozen=True)
class ShardingStrategy:
    """Sharding of the batch over a mesh, with `fsdp` also of the state; no mesh: one device."""

    mesh: Mesh | None = None
    fsdp: bool = False
    devices: tuple[jax.Device, ...] = ()

    @property
    def device_count(self) -> int:
        return self.mesh.size if self.mesh is not None else max(1, len(self.devices))

    def describe(self) -> str:
        """Returns the number and kind of the devices."""
        plural = "s" if self.device_count > 1 else ""
        return f"{self.device_count} {jax.devices()[0].device_kind} device{plural}"

    def sampler(self, data: Any) -> Any:
        """Prepares a data set as an argument of the program that samples sharded batches."""
        return data if self.mesh is None else shard_batches(replicated(data, self.mesh), self.mesh)

    def latent(self, latent: Callable[..., PyTree]) -> Callable[..., PyTree]:
        return latent if self.mesh is None else shard_batches(latent, self.mesh, strict=False)

    def state(self, state: GANState) -> GANState:
        """Puts a state on the devices with the program's sharding."""
        return state if self.mesh is None else device_put_global(state, self._shardings(state))

    def gather(self, state: GANState) -> GANState:
        """Gathers the state on one device of this host, for checkpoints and pictures."""
        return state if self.mesh is None else gather(state)

    def chunk(self, batches: PyTree, first: int) -> Any:
        """Returns a sampler of consecutive batches, given this host's [n, batch / hosts, ...]."""
        first_step = np.asarray(first, np.int32)
        if self.mesh is None:
            return jax.device_put(PreloadedBatches(batches, first_step))
        sharding = NamedSharding(self.mesh, PartitionSpec(None, DATA))
        sharded = jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(sharding, x), batches
        )
        return shard_batches(
            PreloadedBatches(sharded, replicated(first_step, self.mesh)), self.mesh
        )

    def compile(self, steps: Callable[..., Any], state: GANState) -> Callable[..., Any]:
        """Compiles `(state, sampler) -> (state, metrics)`; the state keeps its sharding."""
        if self.mesh is None:
            return jax.jit(steps, donate_argnums=0)
        shardings = (self._shardings(state), NamedSharding(self.mesh, PartitionSpec()))
        return jax.jit(steps, donate_argnums=0, out_shardings=shardings)

    def _shardings(self, state: GANState) -> PyTree:
        assert self.mesh is not None
        if self.fsdp:
            return fsdp_shardings(state, self.mesh)
        replicate = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda _: replicate, state)


def share_cores(members: int) -> None:
    """Creates a CPU device per core before JAX starts, so that members train in parallel.

    Small networks do not parallelize well: members finish sooner on one core each than one after
    another on all cores. Each device holds a copy of the data, so there are at most 8 devices; a
    number of devices set in XLA_FLAGS takes precedence.
    """
    if "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", ""):
        return
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    most = min(cores or 1, _MAX_CPU_DEVICES)
    count = max(n for n in range(1, most + 1) if members % n == 0)
    with contextlib.suppress(RuntimeError):  # a user's config module has already started JAX
        jax.config.update("jax_num_cpu_devices", count)


def require_devices() -> None:
    """Starts JAX's backend.

    Raises:
      UserError: JAX has no device of the requested kind.
    """
    try:
        jax.devices()
    except Exception as error:  # of several kinds, an AssertionError among them
        asked = os.environ.get("JAX_PLATFORMS")
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"JAX has no device of JAX_PLATFORMS={asked} ({reason or 'it is not installed'}); "
            f"unset it, or set JAX_PLATFORMS=cpu"
            if asked
            else f"JAX has no device: {reason or type(error).__name__}"
        ) from error


def make_sharding(config: Config, devices: int | None = None) -> ShardingStrategy:
    """Builds the sharding over all devices, or the first `devices` local ones.

    Raises:
      UserError: there are fewer devices, or they do not divide the batch.
    """
    local = jax.local_devices()
    if devices is not None and jax.process_count() > 1:
        raise UserError("--devices is for one host: several hosts use all of their devices")
    if devices is not None and not 1 <= devices <= len(local):
        raise UserError(f"--devices takes 1 to {len(local)}, got {devices}")
    if config.sweep is not None:  # members are spread over the devices, not their batches
        return ShardingStrategy(devices=tuple(local[:devices]))
    mesh = data_mesh(None if devices is None else local[:devices])
    count, batch = mesh.shape[DATA], config.batch_size
    if count == 1:
        return ShardingStrategy()
    if batch % count:
        raise UserError(
            f"{count} devices cannot share a batch of {batch}; {_choices(batch, count)}"
        )
    return ShardingStrategy(mesh, config.shard_state)


def _choices(batch: int, count: int) -> str:
    multiples = [str(n) for n in (batch // count * count, -(-batch // count) * count) if n]
    choices = f"set --batch-size {' or '.join(multiples)}"
    if jax.process_count() > 1:
        return choices
    fewer = [str(n) for n in range(count - 1, 0, -1) if batch % n == 0]
    return f"{choices}, or --devices {' or '.join(fewer)}"
