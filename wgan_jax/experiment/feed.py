"""What each piece of a run draws its real samples from."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from wgan_jax.data.stream import ImageStream
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.hosts import together
from wgan_jax.experiment.placement import Placement
from wgan_jax.experiment.schedule import Piece, next_piece
from wgan_jax.types import GANState


def open_feed(config: Config, data: Any, state: GANState, placement: Placement) -> Feed:
    """The feed of a run from `state` on."""
    kind = StreamFeed if isinstance(data, ImageStream) else Feed
    return kind(config, data, state, placement)


class Feed:
    """A data set on the devices, or one that is sampled there: each piece gets all of it."""

    def __init__(self, config: Config, data: Any, state: GANState, placement: Placement):
        self._sampler = placement.sampler(data)

    def take(self) -> Any:
        """The sampler of the next piece."""
        return self._sampler

    def times(self) -> dict[str, float]:
        """What the feed has to say of time, since it was last asked."""
        return {}

    def close(self) -> None:
        """Stop reading."""


class StreamFeed(Feed):
    """A stream, one piece ahead: it is read and put on the devices while the last one trains."""

    def __init__(self, config: Config, data: ImageStream, state: GANState, placement: Placement):
        self._config, self._placement = config, placement
        step, first = int(state.step), int(state.step.critic)
        self._batches = data.batches(
            config.seed, config.batch_size, first, jax.process_index(), jax.process_count()
        )
        self._pieces = _pieces(config, step, first)
        self._closed, self._waited, self._asked = False, 0.0, time.perf_counter()
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="feed")
        self._ahead = self._read_ahead()

    def take(self) -> Any:
        began = time.perf_counter()
        chunk = together(self._ahead.result)
        self._waited += time.perf_counter() - began
        self._ahead = self._read_ahead()
        return chunk

    def times(self) -> dict[str, float]:
        """`time/data_wait`: the share of the time in which the devices waited for data."""
        waited, since = self._waited, self._asked
        self._waited, self._asked = 0.0, time.perf_counter()
        return {"time/data_wait": round(waited / (self._asked - since), 4)}

    def close(self) -> None:
        self._closed = True
        self._reader.shutdown(cancel_futures=True)

    def _read_ahead(self) -> Future[Any]:
        return self._reader.submit(self._read, *next(self._pieces, (None, 0)))

    def _read(self, piece: Piece | None, first: int) -> Any:
        if piece is None:
            return None
        chunk: np.ndarray | None = None
        count = piece.length * piece.n_critic
        for i in range(count):
            if self._closed:
                return None
            batch = next(self._batches)
            if chunk is None:
                chunk = np.empty((count, *batch.shape), batch.dtype)
            chunk[i] = batch
        assert chunk is not None
        return self._placement.chunk(chunk, first)


def _pieces(config: Config, step: int, first: int) -> Iterator[tuple[Piece, int]]:
    """The pieces from `step` on, each with the number of its first batch."""
    while step < config.steps:
        piece = next_piece(config, step)
        yield piece, first
        step, first = step + piece.length, first + piece.length * piece.n_critic
