"""Where the arrays of a run lie: on one device, or spread over all of them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from wgan_jax.data.stream import Chunk
from wgan_jax.errors import UserError
from wgan_jax.experiment.config import Config
from wgan_jax.sharding import DATA, cut_shardings, data_mesh, placed, replicated, spread, whole
from wgan_jax.types import GANState, PyTree


@dataclasses.dataclass(frozen=True)
class Placement:
    """The batch spread over a mesh, the state on each device or cut up; no mesh: one device."""

    mesh: Mesh | None = None
    cut: bool = False
    devices: tuple[jax.Device, ...] = ()

    def sampler(self, data: Any) -> Any:
        """A data set as an argument of the program, its samples spread over the devices."""
        return data if self.mesh is None else spread(replicated(data, self.mesh), self.mesh)

    def latent(self, latent: Callable[..., PyTree]) -> Callable[..., PyTree]:
        return latent if self.mesh is None else spread(latent, self.mesh, strict=False)

    def state(self, state: GANState) -> GANState:
        """A whole state, laid out for the program."""
        return state if self.mesh is None else placed(state, self._shardings(state))

    def whole(self, state: GANState) -> GANState:
        """The state on one device of this host, as checkpoints and pictures want it."""
        return state if self.mesh is None else whole(state)

    def chunk(self, batches: PyTree, first: int) -> Any:
        """This host's part of consecutive batches [batches, batch / hosts, ...] as a sampler."""
        first_step = np.asarray(first, np.int32)
        if self.mesh is None:
            return jax.device_put(Chunk(batches, first_step))
        along = NamedSharding(self.mesh, PartitionSpec(None, DATA))
        spread_out = jax.tree.map(
            lambda x: jax.make_array_from_process_local_data(along, x), batches
        )
        return spread(Chunk(spread_out, replicated(first_step, self.mesh)), self.mesh)

    def compile(self, steps: Callable[..., Any], state: GANState) -> Callable[..., Any]:
        """`(state, sampler) -> (state, metrics)`, compiled; the state keeps its layout."""
        if self.mesh is None:
            return jax.jit(steps, donate_argnums=0)
        layout = (self._shardings(state), NamedSharding(self.mesh, PartitionSpec()))
        return jax.jit(steps, donate_argnums=0, out_shardings=layout)

    def _shardings(self, state: GANState) -> PyTree:
        assert self.mesh is not None
        if self.cut:
            return cut_shardings(state, self.mesh)
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda _: everywhere, state)


def require_devices() -> None:
    """Starts JAX's backend, which fails where it has no device of the kind that is asked for.

    Raises:
      UserError: it has none.
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


def place(config: Config, devices: int | None = None) -> Placement:
    """Builds the sharding over all devices, or the first `devices` local ones.

    Raises:
      UserError: there are not so many, or they do not divide the batch.
    """
    here = jax.local_devices()
    if devices is not None and jax.process_count() > 1:
        raise UserError("--devices is for one host: several hosts use all of theirs")
    if devices is not None and not 1 <= devices <= len(here):
        raise UserError(f"--devices takes 1 to {len(here)}, got {devices}")
    if config.sweep is not None:  # its members share the devices, not their batches
        return Placement(devices=tuple(here[:devices]))
    mesh = data_mesh(None if devices is None else here[:devices])
    count, batch = mesh.shape[DATA], config.batch_size
    if count == 1:
        return Placement()
    if batch % count:
        raise UserError(
            f"{count} devices cannot share a batch of {batch}; {_choices(batch, count)}"
        )
    return Placement(mesh, config.shard_state)


def _choices(batch: int, count: int) -> str:
    multiples = [str(n) for n in (batch // count * count, -(-batch // count) * count) if n]
    choices = f"set --batch-size {' or '.join(multiples)}"
    if jax.process_count() > 1:
        return choices
    fewer = [str(n) for n in range(count - 1, 0, -1) if batch % n == 0]
    return f"{choices}, or --devices {' or '.join(fewer)}"
