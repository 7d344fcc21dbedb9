"""Divides a run into chunks: the compiled programs that it dispatches in sequence."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from wgan_jax.adaptive import scan_adaptive_steps
from wgan_jax.experiment.config import Config
from wgan_jax.gan import GAN
from wgan_jax.loop import scan_steps
from wgan_jax.types import GANState, Metrics


class ChunkShape(NamedTuple):
    """Shape of one program: `length` generator iterations of `n_critic` critic steps each."""

    length: int
    n_critic: int


def next_chunk(config: Config, step: int) -> ChunkShape:
    """Returns the chunk that starts at generator iteration `step`.

    The chunk depends on the step alone, so a run that resumes at any boundary is divided
    as if it had never stopped. At most three shapes occur: full chunks, single
    iterations where a full chunk does not fit, and single warm-up iterations.
    """
    warmup = config.warmup
    if warmup is not None and warmup.covers(step):
        return ChunkShape(1, warmup.n_critic)
    length = min(config.chunk, config.log_every)
    fits = step % length == 0 and step + length <= config.steps
    if warmup is not None:
        fits = fits and not any(warmup.covers(i) for i in range(step, step + length))
    return ChunkShape(length if fits else 1, config.n_critic)


def crossed_multiple(every: int, *, before: int, after: int) -> bool:
    """Returns whether (before, after] contains a multiple of `every`; False for 0.

    Example:
      >>> [crossed_multiple(10, before=s, after=s + 4) for s in (4, 6, 10)]
      [False, True, False]
    """
    return every > 0 and after // every > before // every


def duration(seconds: float) -> str:
    """Formats a time in a readable unit.

    Example:
      >>> [duration(s) for s in (0.0123, 0.9999, 42.0, 5_400.0, 4e5, float("inf"))]
      ['12.3 ms', '1.0 s', '42.0 s', '1 h 30 min', '4 d 15 h', 'unknown']
    """
    if not math.isfinite(seconds):
        return "unknown"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds >= 0.9995 else f"{1_000 * seconds:.3g} ms"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 24 else f"{hours // 24} d {hours % 24} h"


def chunk_steps(
    config: Config, gan: GAN, chunk: ChunkShape
) -> Callable[..., tuple[GANState, Metrics]]:
    """Returns the training function of a chunk, `(state, sampler) -> (state, metrics)`."""
    sizes = {"batch_size": config.batch_size, "length": chunk.length}
    if config.adaptive is None:
        return scan_steps(gan, n_critic=chunk.n_critic, **sizes)
    adaptive = config.adaptive
    return scan_adaptive_steps(
        gan, block=adaptive.block, most=adaptive.most, tolerance=adaptive.tolerance, **sizes
    )
