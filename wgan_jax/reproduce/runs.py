"""Runs that live in memory: a config trained by seed, with snapshots on the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax.experiment.build import build_gan, open_dataset
from wgan_jax.experiment.config import Config
from wgan_jax.gan import GAN
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.loop import scan_steps
from wgan_jax.population import population
from wgan_jax.transforms.ema import with_ema
from wgan_jax.types import GANState


class RunHistory(NamedTuple):
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
    together: bool | None = None,
) -> list[RunHistory]:
    """The runs of some seeds; none depends on the others.

    On an accelerator they are one program, batched. On CPU small networks leave
    cores idle, so as many runs as there are cores share them. `together` says
    which, if it is not to be chosen.
    """
    setting = _Setting.of(config, snapshots, samples)
    if together or (together is None and jax.default_backend() != "cpu"):
        return _train_together(setting, seeds)
    compiled = setting.compiled()
    with ThreadPoolExecutor(min(len(seeds), os.cpu_count() or 1)) as pool:
        return list(pool.map(lambda seed: _train_one(setting, compiled, seed), seeds))


def train(
    config: Config, *, snapshots: int, samples: int, observe: Observe | None = None
) -> RunHistory:
    """The run of `config.seed`."""
    setting = _Setting.of(config, snapshots, samples)
    return _train_one(setting, setting.compiled(), config.seed, observe)


class _Sizes(NamedTuple):
    n_critic: int
    batch_size: int
    length: int


class _Setting(NamedTuple):
    """What the runs of all seeds share."""

    gan: GAN
    data: Any
    like: Any
    sizes: _Sizes
    snapshots: int
    samples: int

    @classmethod
    def of(cls, config: Config, snapshots: int, samples: int) -> _Setting:
        data = open_dataset(config)
        struct = data.struct(config.batch_size)
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), struct)
        length = max(1, config.steps // snapshots)
        sizes = _Sizes(config.n_critic, config.batch_size, length)
        return cls(build_gan(config), data, zeros, sizes, snapshots, samples)

    def compiled(self) -> Any:
        state = jax.eval_shape(self.gan.init, jax.random.key(0), self.like)
        steps = scan_steps(self.gan, **self.sizes._asdict())
        return jax.jit(steps, donate_argnums=0).lower(state, self.data).compile()

    def draw(self, state: GANState) -> Any:
        key = derive_key(state.key, Purpose.SAMPLES)
        return jax.tree.leaves(self.gan.generate(with_ema(state), key, self.samples))[0]

    def track(self, history: list[Any], taken: list[np.ndarray], state: GANState) -> RunHistory:
        metrics = {name: np.concatenate([h[name] for h in history]) for name in history[0]}
        at = np.arange(self.snapshots + 1) * self.sizes.length
        return RunHistory(metrics, at, np.stack(taken), self.gan, state)


def _train_one(
    setting: _Setting, advance: Any, seed: int, observe: Observe | None = None
) -> RunHistory:
    state = setting.gan.init(jax.random.key(seed), setting.like)
    taken, history = [np.asarray(setting.draw(state))], []
    for snapshot in range(setting.snapshots + 1):
        if snapshot:
            state, metrics = advance(state, setting.data)
            history.append(jax.device_get(metrics))
            taken.append(np.asarray(setting.draw(state)))
        if observe is not None:
            observe(setting.gan, state, setting.data)
    return setting.track(history, taken, state)


def _train_together(setting: _Setting, seeds: Sequence[int]) -> list[RunHistory]:
    many = population(lambda _: setting.gan, **setting.sizes._asdict())
    keys = jax.vmap(jax.random.key)(jnp.asarray(seeds, jnp.uint32))
    states, draw = many.init(keys, None, setting.like), jax.jit(jax.vmap(setting.draw))

    def member(tree: Any, i: int) -> Any:
        return jax.tree.map(lambda x: x[i], tree)

    taken, history = [np.asarray(draw(states))], []
    for _ in range(setting.snapshots):
        states, metrics = many.run(states, None, setting.data)
        history.append(jax.device_get(metrics))
        taken.append(np.asarray(draw(states)))
    return [
        setting.track([member(h, i) for h in history], [x[i] for x in taken], member(states, i))
        for i in range(len(seeds))
    ]
