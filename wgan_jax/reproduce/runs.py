"""In-memory training runs of a config, by seed and with snapshots."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.data.dataset import Dataset
from wgan_jax.experiment.build import build_gan, open_dataset
from wgan_jax.experiment.chunks import ChunkShape, chunk_steps, next_chunk
from wgan_jax.experiment.config import Config
from wgan_jax.gan import GAN
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.population import population
from wgan_jax.transforms.ema import with_ema
from wgan_jax.types import GANState


class RunHistory(NamedTuple):
    """A finished run.

    Attributes:
      metrics: by name, one value per generator iteration.
      steps: generator iterations at each snapshot, including the start.
      samples: samples at each snapshot, [snapshots, n, ...].
      gan: the functions of the GAN, and `state` the final state.
    """

    metrics: dict[str, np.ndarray]
    steps: np.ndarray
    samples: np.ndarray
    gan: GAN
    state: GANState


class Snapshot(NamedTuple):
    """A run in progress; `metrics` are those since the previous snapshot, none at the start."""

    number: int
    step: int
    gan: GAN
    state: GANState
    metrics: dict[str, np.ndarray]


Restore = Callable[[GANState], tuple[int, GANState] | None]


def train_seeds(
    config: Config,
    seeds: Sequence[int],
    *,
    snapshots: int,
    samples: int,
    together: bool | None = None,
) -> list[RunHistory]:
    """Train one independent run per seed.

    On an accelerator, runs without warm-up are batched into one program. Otherwise,
    as many runs as there are cores train in parallel, since small networks leave CPU
    cores idle. `together` overrides this choice.
    """
    setting = _Setting.of(config, snapshots, samples)
    if together is None:
        together = jax.default_backend() != "cpu" and config.warmup is None
    if together:
        return _train_together(setting, seeds)
    programs = setting.compiled()
    with ThreadPoolExecutor(min(len(seeds), os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda seed: _train_one(setting, programs, seed), seeds))


def train(
    config: Config, *, snapshots: int, samples: int, data: Dataset | None = None
) -> RunHistory:
    """Train the run of `config.seed`, including the warm-up of its critic if it has one.

    `data` is the open data set of `config`, for runs that share it.
    """
    setting = _Setting.of(config, snapshots, samples, data)
    return _train_one(setting, setting.compiled(), config.seed)


def snapshots_of(
    config: Config,
    *,
    snapshots: int,
    restore: Restore | None = None,
    data: Dataset | None = None,
) -> Iterator[Snapshot]:
    """Yield the start of the same run, then `snapshots` snapshots at equal intervals.

    A state is valid until the next snapshot is requested. `restore` takes the shapes of a
    state; the run resumes from the snapshot whose number and state it returns.
    """
    setting = _Setting.of(config, snapshots, 0, data)
    return _snapshots(setting, setting.compiled(), config.seed, restore)


class _Setting(NamedTuple):
    """What the runs of all seeds share; `length` counts iterations between snapshots."""

    config: Config
    gan: GAN
    data: Any
    like: Any
    length: int
    snapshots: int
    samples: int

    @classmethod
    def of(
        cls, config: Config, snapshots: int, samples: int, data: Dataset | None = None
    ) -> _Setting:
        data = open_dataset(config) if data is None else data.on_device()
        struct = data.struct(config.batch_size)
        zeros = jax.tree.map(jnp.zeros_like, struct)
        length = max(1, config.steps // snapshots)
        config = dataclasses.replace(
            config, steps=snapshots * length, chunk=length, log_every=length
        )
        return cls(config, build_gan(config), data, zeros, length, snapshots, samples)

    def state(self) -> GANState:
        """Return the shapes and dtypes of a state."""
        return jax.eval_shape(self.gan.init, jax.random.key(0), self.like)

    def compiled(self) -> dict[ChunkShape, Any]:
        """Compile the programs that such a run dispatches, by chunk shape."""
        return {
            chunk: jax.jit(chunk_steps(self.config, self.gan, chunk), donate_argnums=0)
            .lower(self.state(), self.data)
            .compile()
            for chunk in set(self.chunks(0, self.config.steps))
        }

    def chunks(self, start: int, stop: int) -> list[ChunkShape]:
        shapes = []
        while start < stop:
            shapes.append(next_chunk(self.config, start))
            start += shapes[-1].length
        return shapes

    def draw(self, state: GANState) -> Any:
        key = derive_key(state.key, Purpose.SAMPLES)
        return jax.tree.leaves(self.gan.generate(with_ema(state), key, self.samples))[0]

    def track(self, history: list[Any], samples: list[np.ndarray], state: GANState) -> RunHistory:
        at = np.arange(self.snapshots + 1) * self.length
        return RunHistory(_concatenated(history), at, np.stack(samples), self.gan, state)


def _snapshots(
    setting: _Setting,
    programs: dict[ChunkShape, Any],
    seed: int,
    restore: Restore | None = None,
) -> Iterator[Snapshot]:
    gan, length = setting.gan, setting.length
    restored = None if restore is None else restore(setting.state())
    if restored is None:
        restored = 0, gan.init(jax.random.key(seed), setting.like)
        yield Snapshot(0, 0, gan, restored[1], {})
    first, state = restored
    for i in range(first, setting.snapshots):
        history = []
        for chunk in setting.chunks(i * length, (i + 1) * length):
            state, metrics = programs[chunk](state, setting.data)
            history.append(jax.device_get(metrics))
        yield Snapshot(i + 1, (i + 1) * length, gan, state, _concatenated(history))


def _concatenated(history: list[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([h[name] for h in history]) for name in history[0]}


def _train_one(setting: _Setting, programs: dict[ChunkShape, Any], seed: int) -> RunHistory:
    samples, history = [], []
    for now in _snapshots(setting, programs, seed):
        samples.append(np.asarray(setting.draw(now.state)))
        history += [now.metrics] if now.metrics else []
    return setting.track(history, samples, now.state)


def _train_together(setting: _Setting, seeds: Sequence[int]) -> list[RunHistory]:
    config = setting.config
    many = population(
        lambda _: setting.gan,
        n_critic=config.n_critic,
        batch_size=config.batch_size,
        length=setting.length,
    )
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    states, draw = many.init(keys, None, setting.like), jax.jit(jax.vmap(setting.draw))

    def member(tree: Any, i: int) -> Any:
        return jax.tree.map(lambda x: x[i], tree)

    samples, history = [np.asarray(draw(states))], []
    for _ in range(setting.snapshots):
        states, metrics = many.run(states, None, setting.data)
        history.append(jax.device_get(metrics))
        samples.append(np.asarray(draw(states)))
    return [
        setting.track([member(h, i) for h in history], [x[i] for x in samples], member(states, i))
        for i in range(len(seeds))
    ]
