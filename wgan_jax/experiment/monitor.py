"""Is the number to be trusted? W1 on held-out data while training, and the critic's health.

The run's own critic is scored on data that it has not seen and divided by its
certified Lipschitz bound, which gives a lower bound of W1 that holds. The health
report answers, in numbers and in words, what users of WGANs ask again and again.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
from jax import lax

from wgan_jax.distances.exact import exact_w1
from wgan_jax.experiment.build import build_gan
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.watch import watch
from wgan_jax.finite import skip_non_finite
from wgan_jax.gan import GAN
from wgan_jax.keys import Draw, key_for
from wgan_jax.lipschitz import lipschitz_bound
from wgan_jax.loop import as_pytree, draw, shuffle_rows
from wgan_jax.margins import held_out_difference
from wgan_jax.optimizers import SGD
from wgan_jax.types import Array, GANState, PyTree, from_linen
from wgan_jax.vae import EvidenceBound

_CONFIDENCE, _EXTRA_STEPS, _TRANSPORTS = 0.95, 100, 4
_POINTS, _VALUES = 8_192, 2**24
_MISSING, _PILED_UP, _VANISHED = 0.5, 0.95, 1e-5


class Monitor:
    """What an evaluation measures while a run goes on. Nothing of it changes the run.

    A VAE has no critic, and a stream cannot be read apart from its run: theirs is empty.
    """

    def __init__(self, config: Config, gan: GAN, data: Any):
        self._config, self._gan = config, gan
        self._idle = isinstance(config.objective, EvidenceBound) or not callable(data)
        if self._idle:
            return
        dataset: Any = config.dataset
        held_out = dataset.held_out() if hasattr(dataset, "held_out") else dataset
        self._data = as_pytree(data)
        self._unseen = self._data if held_out is None else as_pytree(held_out)
        self._critic = from_linen(config.critic)
        self._slope = SGD(learning_rate=1.0)
        probe = dataclasses.replace(config, critic_optimizer=self._slope, clip=None)
        self._descend = build_gan(probe).critic_step
        self._score = jax.jit(self._scores)
        self._train_on = jax.jit(self._extra_steps)

    def __call__(self, state: GANState) -> dict[str, float]:
        """Numbers by name.

        - `w1/held_out`: the critic's mean difference on held-out data, in its own units;
        - `w1/lipschitz`, `w1/lower`: the critic's certified Lipschitz bound, and the lower
          bound of W1 at 95% confidence that follows; absent where no bound is known;
        - `w1/minibatch`, `w1/minibatch_floor`: exact W1 between samples and data, and between
          data and data, at the size of a minibatch;
        - `w1/sliced`, `modes/found` and what else `watch` says of samples and held-out data;
        - `health/held_out_later`: `w1/held_out` after 100 extra critic steps;
        - `health/gain`, `health/gain_error`: what these steps added, as a share of that, and
          its standard error;
        - `health/step_cosine`: between the optimiser's step and the descent direction;
        - `health/at_clip`: share of weights on the sides of the box;
        - `health/gradient_norm/LAYER`.
        """
        if self._idle:
            return {}
        root = key_for(state.key, Draw.MONITOR, state.step.generator)
        on_real, on_fake, on_extra, on_slices, *on_order = jax.random.split(root, 6)
        real = self._held_out(on_real)
        n = len(jax.tree.leaves(real)[0])
        fake = self._gan.generate(state, on_fake, n)
        # Parts of them are compared below, and a sampler may give its rows in order.
        real, fake = map(shuffle_rows, on_order, (real, fake))
        before = self._score(state, real, fake)
        after = self._score(self._train_on(state, on_extra, self._data), real, fake)
        x, y = (np.asarray(jax.tree.leaves(z)[0]).reshape(n, -1) for z in (fake, real))
        found = _w1(before, self._lipschitz(state)) | self._transport(x, y)
        found |= watch(self._config.dataset, x, y, on_slices)
        return found | _gain(before, after) | self._step(state)

    def _held_out(self, key: Array) -> PyTree:
        shape = jax.tree.leaves(jax.eval_shape(lambda key: self._unseen(key, 1), key))[0].shape
        n = min(_POINTS, _VALUES // int(np.prod(shape)), getattr(self._unseen, "size", _POINTS))
        return self._unseen.at(key, 0, n) if hasattr(self._unseen, "at") else self._unseen(key, n)

    def _scores(self, state: GANState, real: PyTree, fake: PyTree) -> tuple[Array, Array]:
        params, stats, _ = state.critic
        scores = [
            self._critic.apply(params, stats, x, train=False)[0].reshape(-1) for x in (real, fake)
        ]
        return scores[0], scores[1]

    def _extra_steps(self, state: GANState, key: Array, data: Any) -> GANState:
        state = state._replace(key=key)

        def step(state: GANState, _: None) -> tuple[GANState, None]:
            real = draw(data, state.key, state.step.critic, self._config.batch_size)
            return self._gan.critic_step(state, real)[0], None

        return lax.scan(step, state, length=_EXTRA_STEPS)[0]

    def _lipschitz(self, state: GANState) -> float | None:
        try:
            variables = {"params": state.critic.params, **state.critic.stats}
            return lipschitz_bound(self._config.critic, variables).value
        except ValueError:
            return None

    def _transport(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        size = min(self._config.batch_size, len(y) // 2)
        pairs = range(0, min(2 * _TRANSPORTS * size, len(y) - 2 * size + 1), 2 * size)
        return {
            "w1/minibatch": float(
                np.mean([exact_w1(x[i : i + size], y[i : i + size]) for i in pairs])
            ),
            "w1/minibatch_floor": float(
                np.mean([exact_w1(y[i : i + size], y[i + size : i + 2 * size]) for i in pairs])
            ),
        }

    def _step(self, state: GANState) -> dict[str, float]:
        """The next critic step beside plain descent on the same batch with the same noise."""
        real = draw(self._data, state.key, state.step.critic, self._config.batch_size)
        params = state.critic.params
        plain = state.critic._replace(opt_state=skip_non_finite(self._slope.build()).init(params))
        moved = self._gan.critic_step(state, real)[0].critic.params
        descended = self._descend(state._replace(critic=plain), real)[0].critic.params
        step, slope = (
            jax.tree.map(lambda new, old: np.asarray(new - old, np.float64), new, params)
            for new in (moved, descended)
        )
        inner = sum(
            np.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (step, slope)), strict=True)
        )
        found = {"health/step_cosine": float(inner / max(_norm(step) * _norm(slope), 1e-300))}
        if self._config.clip is not None:
            weights = np.concatenate([np.ravel(w) for w in jax.tree.leaves(params)])
            found["health/at_clip"] = share_at(self._config.clip.c, weights)
        return found | {
            f"health/gradient_norm/{name}": _norm(part) for name, part in _layers(slope)
        }


def share_at(c: float, weights: np.ndarray) -> float:
    """The share of weights on the sides of the box; the clip may leave them one ulp inside."""
    return float(np.mean(np.abs(weights) >= c * (1 - 1e-6)))


def _w1(scores: tuple[Array, Array], lipschitz: float | None) -> dict[str, float]:
    """The critic's score on held-out data and the lower bound of W1 that follows from it."""
    real, fake = map(np.asarray, scores)
    found = {"w1/held_out": float(real.mean() - fake.mean())}
    if lipschitz is None or not lipschitz > 0:
        return found
    half = len(real) // 2
    seen = np.concatenate([real[:half], fake[:half]])
    dual, margin = held_out_difference(real[half:], fake[half:], seen, 1 - _CONFIDENCE)
    return found | {"w1/lipschitz": lipschitz, "w1/lower": max(dual - margin, 0.0) / lipschitz}


def _gain(before: tuple[Array, Array], after: tuple[Array, Array]) -> dict[str, float]:
    """What extra critic steps added to its score on held-out data."""
    added = [np.asarray(new - old, np.float64) for new, old in zip(after, before, strict=True)]
    later = float(after[0].mean() - after[1].mean())
    size = max(abs(later), 1e-12)
    error = np.sqrt(sum(np.var(x) / len(x) for x in added))
    return {
        "health/held_out_later": later,
        "health/gain": float(added[0].mean() - added[1].mean()) / size,
        "health/gain_error": float(error) / size,
    }


def _layers(tree: dict[str, PyTree]) -> list[tuple[str, PyTree]]:
    """The parts that have a matrix; a bias apart may have no gradient, as the output's has none."""
    return [
        (name, part)
        for name, part in tree.items()
        if any(np.ndim(leaf) > 1 for leaf in jax.tree.leaves(part))
    ]


def _norm(tree: PyTree) -> float:
    return float(np.sqrt(sum(np.square(x).sum() for x in jax.tree.leaves(tree))))


def warnings(found: dict[str, float]) -> dict[str, str]:
    """In plain words, what of a report is off and what to do, by topic; empty where all is well."""
    said = {}
    norms = {
        name.rpartition("/")[2]: value
        for name, value in found.items()
        if name.startswith("health/gradient_norm/")
    }
    if found.get("health/gain", 0.0) - 3 * found.get("health/gain_error", 0.0) > _MISSING:
        said["optimum"] = (
            f"the critic is not near its optimum: {_EXTRA_STEPS} extra steps take its estimate on "
            f"held-out data from {found['w1/held_out']:.3g} to {found['health/held_out_later']:.3g}"
            f"; raise n_critic or its learning rate"
        )
    if found.get("health/step_cosine", 1.0) < 0:
        said["direction"] = (
            f"the critic's optimiser steps against the gradient (cosine "
            f"{found['health/step_cosine']:.2f}); take less momentum or a lower learning rate"
        )
    if found.get("health/at_clip", 0.0) > _PILED_UP:
        said["box"] = (
            f"{found['health/at_clip']:.0%} of the critic's weights sit at the clip value; "
            f"raise clip.c, or take a penalty instead"
        )
    if norms and min(norms.values()) < _VANISHED * max(norms.values()):
        least, most = min(norms, key=norms.__getitem__), max(norms, key=norms.__getitem__)
        said["layers"] = (
            f"the critic's gradient vanishes between layers ({norms[least]:.1e} in {least}, "
            f"{norms[most]:.1e} in {most}); change clip.c, or take a penalty instead"
        )
    return said
