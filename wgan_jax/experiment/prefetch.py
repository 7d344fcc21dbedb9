"""Supplies chunks with real samples; streams are prefetched while the previous chunk trains."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import jax
import numpy as np

from wgan_jax.data.dataset import Dataset
from wgan_jax.experiment.chunks import ChunkShape, next_chunk
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.distributed.placement import ShardingStrategy
from wgan_jax.experiment.distributed.processes import run_on_all
from wgan_jax.types import GANState


@contextmanager
def prefetch(
    config: Config, data: Dataset, state: GANState, sharding: ShardingStrategy
) -> Iterator[Resident | Prefetcher]:
    """Opens the source of real samples for a run that starts at `state`."""
    if not data.is_stream:
        yield Resident(sharding.sampler(data))
        return
    with closing(Prefetcher(config, data, state, sharding)) as prefetcher:
        yield prefetcher


class Resident:
    """A data set in device memory, or a distribution that is sampled on the devices."""

    def __init__(self, sampler: Any):
        self._sampler = sampler

    def take(self) -> Any:
        """Returns the sampler of the next chunk, always that of the full data set."""
        return self._sampler

    def wait_fraction(self) -> dict[str, float]:
        """Returns no metrics, since training never waits for data."""
        return {}


class Prefetcher:
    """A stream, read one chunk ahead and moved to the devices while the previous chunk trains."""

    def __init__(self, config: Config, data: Dataset, state: GANState, sharding: ShardingStrategy):
        self._sharding = sharding
        step, first = int(state.step), int(state.step.critic)
        self._batches = data.batches(
            config.seed, config.batch_size, first, jax.process_index(), jax.process_count()
        )
        self._chunks = _chunks(config, step, first)
        self._closed, self._waited, self._asked = False, 0.0, time.perf_counter()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="prefetch")
        self._ahead = self._read_ahead()

    def take(self) -> Any:
        """Returns the sampler of the next chunk, and starts reading the one after it."""
        began = time.perf_counter()
        batches = run_on_all(self._ahead.result)
        self._waited += time.perf_counter() - began
        self._ahead = self._read_ahead()
        return batches

    def wait_fraction(self) -> dict[str, float]:
        """Returns the fraction of time spent waiting for data since the last call."""
        waited, since = self._waited, self._asked
        self._waited, self._asked = 0.0, time.perf_counter()
        return {"time/data_wait": round(waited / (self._asked - since), 4)}

    def close(self) -> None:
        self._closed = True
        self._reader.shutdown(cancel_futures=True)

    def _read_ahead(self) -> Future[Any]:
        return self._reader.submit(self._read, *next(self._chunks, (None, 0)))

    def _read(self, chunk: ChunkShape | None, first: int) -> Any:
        if chunk is None:
            return None
        batches: Any = None
        count = chunk.length * chunk.n_critic
        for i in range(count):
            if self._closed:
                return None
            batch = next(self._batches)
            if batches is None:
                batches = jax.tree.map(lambda x: np.empty((count, *x.shape), x.dtype), batch)
            jax.tree.map(lambda buffer, x, i=i: buffer.__setitem__(i, x), batches, batch)
        return self._sharding.chunk(batches, first)


def _chunks(config: Config, step: int, first: int) -> Iterator[tuple[ChunkShape, int]]:
    """Yields the chunks from `step` on, each with the index of its first batch."""
    while step < config.steps:
        chunk = next_chunk(config, step)
        yield chunk, first
        step, first = step + chunk.length, first + chunk.length * chunk.n_critic
