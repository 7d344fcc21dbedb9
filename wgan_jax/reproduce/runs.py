"""Runs that live in memory: a config trained by seed, with snapshots on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.ema import with_ema
from wgan_jax.experiment.build import build_gan, open_dataset, real_struct
from wgan_jax.experiment.config import Config
from wgan_jax.gan import GAN
from wgan_jax.keys import Draw, key_for
from wgan_jax.loop import scan_steps
from wgan_jax.types import GANState


class Track(NamedTuple):
    """A finished run.

    Attributes:
      metrics: by name, one value for each generator iteration.
      steps: generator iterations at each snapshot, the start included.
      samples: at each snapshot, [snapshots, n, ...].
      gan: the functions, and `state` the end.
    """

    metrics: dict[str, np.ndarray]
    steps: np.ndarray
    samples: np.ndarray
    gan: GAN
    state: GANState


Observe = Callable[[GAN, GANState, Any], None]


def train_seeds(
    config: Config,
    seeds: Sequence[int],
    *,
    snapshots: int,
    samples: int,
    observe: Observe | None = None,
) -> list[Track]:
    """One program for all seeds, as many at a time as the machine has cores.

    Small networks leave the cores of a CPU idle, so the seeds share them. A seed's
    run does not depend on the others.
    """
    run = _compiled(config, snapshots, samples, observe)
    workers = 1 if jax.default_backend() != "cpu" else min(len(seeds), os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        return list(pool.map(run, seeds))


def train(config: Config, *, snapshots: int, samples: int, observe: Observe | None = None) -> Track:
    """The run of `config.seed`."""
    return _compiled(config, snapshots, samples, observe)(config.seed)


def _compiled(
    config: Config, snapshots: int, samples: int, observe: Observe | None
) -> Callable[[int], Track]:
    data, gan = open_dataset(config), build_gan(config)
    struct = real_struct(data, config.batch_size)
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), struct)
    length = max(1, config.steps // snapshots)
    steps = scan_steps(gan, n_critic=config.n_critic, batch_size=config.batch_size, length=length)
    like = jax.eval_shape(gan.init, jax.random.key(0), zeros)
    advance = jax.jit(steps, donate_argnums=0).lower(like, data).compile()

    def run(seed: int) -> Track:
        state = gan.init(jax.random.key(seed), zeros)
        key = key_for(state.key, Draw.SAMPLES)
        taken, history = [], []
        for snapshot in range(snapshots + 1):
            if snapshot:
                state, metrics = advance(state, data)
                history.append(jax.device_get(metrics))
            drawn = gan.generate(with_ema(state), key, samples)
            taken.append(np.asarray(jax.tree.leaves(drawn)[0]))
            if observe is not None:
                observe(gan, state, data)
        metrics = {name: np.concatenate([h[name] for h in history]) for name in history[0]}
        at = np.arange(snapshots + 1) * length
        return Track(metrics, at, np.stack(taken), gan, state)

    return run
