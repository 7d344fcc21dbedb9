"""What the pictures of a run show: samples of its generator, and the data beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import jax
import numpy as np

from wgan_jax.ema import with_ema
from wgan_jax.experiment import pictures
from wgan_jax.experiment.build import real_struct
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.evaluate import real_clouds
from wgan_jax.files import atomic_write
from wgan_jax.keys import Draw, key_for
from wgan_jax.types import Array, GANState, from_linen
from wgan_jax.vae import EvidenceBound

if TYPE_CHECKING:
    from wgan_jax.experiment.trainer import Run

_GRID, _POINTS = 64, 2_000


def draw_samples(run: Run, state: GANState, step: int, file: BinaryIO) -> None:
    """A picture of samples from the run's fixed noise: a grid of images, or points of the plane."""
    key = key_for(jax.random.key(run.config.seed), Draw.SAMPLES)
    shape = jax.tree.leaves(real_struct(run.data, 1))[0].shape[1:]
    count = _GRID if len(shape) == 3 else _POINTS
    fake, *labels = map(np.asarray, jax.tree.leaves(run.gan.generate(with_ema(state), key, count)))
    if labels:
        fake = fake[np.argsort(labels[0], kind="stable")]
    if len(shape) == 3:
        pictures.image_grid(fake, file)
    elif shape == (2,):
        real = np.asarray(run.data(key_for(key, Draw.CRITIC_DATA), count))
        pictures.plane(real, fake, _scores(run.config, state), step, file)


def draw_data(run: Run, path: Path) -> None:
    """A picture of real images, to see samples beside; that of points has the data in it."""
    shape = jax.tree.leaves(real_struct(run.data, 1))[0].shape[1:]
    if len(shape) != 3 or path.exists():
        return
    key = key_for(jax.random.key(run.config.seed), Draw.CRITIC_DATA)
    size = run.data.size if hasattr(run.data, "size") else None
    count = _GRID if size is None else min(_GRID, size)
    real, *_ = real_clouds(run.data, key, count, size, run.config.seed)
    with atomic_write(path) as file:
        pictures.image_grid(real.reshape(-1, *shape), file)


def _scores(config: Config, state: GANState) -> Callable[[np.ndarray], Array] | None:
    """The critic as a function of points; None where an encoder sits in its place."""
    if isinstance(config.objective, EvidenceBound):
        return None
    critic, (params, stats, _) = from_linen(config.critic), state.critic
    return lambda x: critic.apply(params, stats, x, train=False)[0]
