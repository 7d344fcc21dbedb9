"""Diagnostics of the run's own critic: what it sees of W1, and whether it is well trained.

Its score on data that no training step has seen, divided by its certified Lipschitz bound, gives
a valid lower bound on W1; its share of W1 is how much of the distance the generator sees. The
health report answers frequent questions about WGAN training, in numbers and in words.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.data.dataset import Dataset, as_dataset
from wgan_jax.distances.exact import exact_w1
from wgan_jax.experiment.build import build_gan, with_fast_dtype
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.evaluation.samples import generate, points, sample_shape
from wgan_jax.experiment.evaluation.units import CONFIDENCE, in_units
from wgan_jax.experiment.evaluation.watch import cheap_sample_metrics
from wgan_jax.gan import GAN
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.lipschitz import lipschitz_bound
from wgan_jax.loop import sample_batch
from wgan_jax.margins import held_out_difference
from wgan_jax.objectives import is_paired
from wgan_jax.transforms.ema import ema_of, with_ema
from wgan_jax.transforms.finite import skip_non_finite
from wgan_jax.transforms.optimizers import SGD
from wgan_jax.types import Array, GANState, PyTree, from_linen
from wgan_jax.vae import EvidenceBound

_EXTRA_STEPS, _TRANSPORTS = 100, 4
_POINTS, _VALUES = 8_192, 2**24
_MISSING, _PILED_UP, _VANISHED = 0.5, 0.95, 1e-5
_MOST_UPDATES = 2**31 - 1  # decay so slow that the learning rate is practically constant


class CriticDiagnostics:
    """Measurements of the critic that leave the run unchanged.

    Metrics of the generator (`w1/...`, `modes/...`) use the weights that samples are drawn
    with, averaged if the run keeps an average. The critic's health (`health/...`) is
    measured against the raw weights that it trains against. A VAE has no critic: its
    evaluation is empty.
    """

    def __init__(self, config: Config, gan: GAN, data: Any, unseen: Dataset | None):
        self._config, self._gan = config, gan
        self._idle = isinstance(config.objective, EvidenceBound)
        if self._idle:
            return
        self._objective: Any = config.objective
        self._data = as_dataset(data)
        self._unseen = unseen
        self._critic = from_linen(with_fast_dtype(config.critic))
        self._slope = SGD(learning_rate=1.0)
        probe = dataclasses.replace(config, critic_optimizer=self._slope, clip=None)
        self._descend = build_gan(probe).critic_step
        # At a rate that has decayed to zero, extra steps would not show what they could gain.
        never = _MOST_UPDATES // config.n_critic
        undecayed = dataclasses.replace(config.critic_optimizer, decay_iterations=never)
        self._step = build_gan(dataclasses.replace(config, critic_optimizer=undecayed)).critic_step
        self._score = jax.jit(self._scores)
        self._train_on = jax.jit(self._extra_steps)

    def __call__(self, state: GANState) -> dict[str, float]:
        """Return the metrics by name.

        - `w1/held_out`: the critic's estimate on held-out data, in the units of its objective;
          `w1/training` instead if all data are trained on;
        - `w1/lipschitz`, `w1/critic`, `w1/critic/lower`: the critic's certified Lipschitz bound,
          its score divided by it, and the resulting lower bound on W1 at 95% confidence;
          absent if no Lipschitz bound is known or no data are held out;
        - `w1/minibatch`, `w1/minibatch_floor`: exact W1 between samples and these data, and
          between data and data, at the size of a minibatch;
        - `w1/sliced`, `modes/found` and the other metrics of `cheap_sample_metrics`;
        - `.../points`: samples of each kind behind a number;
        - `health/held_out`, `health/held_out_later`: the estimate before and after 100 extra
          critic steps at the undecayed learning rate; or `health/training`, likewise;
        - `health/gain`, `health/gain_error`: what these steps added, as a share of the later
          estimate, and its standard error;
        - `health/step_cosine`: between the optimizer's step and the descent direction;
        - `health/at_clip`: share of weights on the boundary of the clip box;
        - `health/gradient_norm/LAYER`.
        """
        if self._idle:
            return {}
        root = derive_key(state.key, Purpose.MONITOR, state.step.generator)
        on_real, on_fake, on_slices, on_data, on_game, on_step = jax.random.split(root, 6)
        kind = "training" if self._unseen is None else "held_out"
        real = self._reals(on_real)
        n = len(jax.tree.leaves(real)[0])
        if n < 2:
            return {}
        fake = generate(self._gan, with_ema(state), on_fake, n)
        scores = self._score(state, real, fake)
        result = {f"w1/{kind}": self._estimate(scores), f"w1/{kind}/points": n}
        if self._unseen is not None:
            result |= _lower_bound(scores, self._lipschitz(state))
        x, y = points(fake), points(real)
        result |= self._transport(x, y)
        result |= cheap_sample_metrics(self._config.dataset, x, y, on_slices)
        result = in_units(result, self._data.units)
        sampler = self._data.sampler(on_data, self._config.batch_size, _EXTRA_STEPS)
        result |= self._gain(state, kind, real, fake, on_game, sampler)
        return result | self._direction(state, on_step, sampler)

    def _reals(self, key: Array) -> PyTree:
        """Draw the real samples of an evaluation, from held-out data if there are any."""
        data = self._data if self._unseen is None else self._unseen
        n = min(_POINTS, _VALUES // int(np.prod(sample_shape(data))), data.size or _POINTS)
        return next(data.draws(key, n, 1))

    def _scores(self, state: GANState, real: PyTree, fake: PyTree) -> tuple[Array, Array]:
        params, stats, _ = state.critic
        with jax.default_matmul_precision("highest"):  # which the Lipschitz bound assumes
            scores = [
                self._critic.apply(params, stats, x, train=False)[0].reshape(-1)
                for x in (real, fake)
            ]
        return scores[0], scores[1]

    def _extra_steps(self, state: GANState, key: Array, sampler: Any, steps: int) -> GANState:
        def step(_: Array, state: GANState) -> GANState:
            real = sample_batch(sampler, state.key, state.step.critic, self._config.batch_size)
            return self._step(state, real)[0]

        # The number of steps is traced, so that one step and many share a program.
        return lax.fori_loop(0, steps, step, state._replace(key=key))

    def _lipschitz(self, state: GANState) -> float | None:
        try:
            variables = {"params": state.critic.params, **state.critic.stats}
            return lipschitz_bound(with_fast_dtype(self._config.critic), variables).value
        except ValueError:
            return None

    def _transport(self, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
        """Exact W1 of minibatches; any rows make one, as they are in random order."""
        size = min(self._config.batch_size, len(y) // 2)
        pairs = range(0, min(2 * _TRANSPORTS * size, len(y) - 2 * size + 1), 2 * size)
        distances = {
            "w1/minibatch": [exact_w1(x[i : i + size], y[i : i + size]) for i in pairs],
            "w1/minibatch_floor": [
                exact_w1(y[i : i + size], y[i + size : i + 2 * size]) for i in pairs
            ],
        }
        return {name: float(np.mean(w1)) for name, w1 in distances.items()} | {
            "w1/minibatch/points": size
        }

    def _gain(
        self, state: GANState, kind: str, real: PyTree, fake: PyTree, key: Array, sampler: Any
    ) -> dict[str, float]:
        """Measure what extra critic steps add to its estimate, against the raw generator."""
        on_fake, on_steps = jax.random.split(key)
        if ema_of(state.generator.opt_state) is not None:
            fake = generate(self._gan, state, on_fake, len(jax.tree.leaves(real)[0]))
        before = self._score(state, real, fake)
        after = self._score(self._train_on(state, on_steps, sampler, _EXTRA_STEPS), real, fake)
        terms = [self._terms(scores) for scores in (before, after)]
        added = [np.asarray(new - old, np.float64) for old, new in zip(*terms, strict=True)]
        later = self._estimate(after)
        size = max(abs(later), 1e-12)
        error = np.sqrt(sum(np.var(x) / len(x) for x in added))
        return {
            f"health/{kind}": self._estimate(before),
            f"health/{kind}_later": later,
            "health/gain": float(sum(x.mean() for x in added)) / size,
            "health/gain_error": float(error) / size,
        }

    def _estimate(self, scores: tuple[Array, Array]) -> float:
        """What the critic trains to raise, as `critic/estimate` of training batches."""
        return float(self._objective.estimate(*scores))

    def _terms(self, scores: tuple[Array, Array]) -> list[Array]:
        """Split the estimate, up to a constant, into independent terms of the samples, each [n]."""
        real, fake = scores
        per_sample = jax.vmap(lambda x, y: self._objective.estimate(x[None], y[None]))
        if is_paired(self._objective):
            return [per_sample(real, fake)]
        zero = jnp.zeros_like(real)
        return [per_sample(real, zero), per_sample(zero, fake)]

    def _direction(self, state: GANState, key: Array, sampler: Any) -> dict[str, float]:
        """Compare a critic step with plain descent, on the same batch and noise."""
        state = state._replace(key=key)
        real = sample_batch(sampler, state.key, state.step.critic, self._config.batch_size)
        params = state.critic.params
        plain = state.critic._replace(opt_state=skip_non_finite(self._slope.build()).init(params))
        moved = self._train_on(state, key, sampler, 1).critic.params
        descended = self._descend(state._replace(critic=plain), real)[0].critic.params
        step, slope = (
            jax.tree.map(lambda new, old: np.asarray(new - old, np.float64), new, params)
            for new in (moved, descended)
        )
        inner = sum(
            np.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (step, slope)), strict=True)
        )
        result = {"health/step_cosine": float(inner / max(_norm(step) * _norm(slope), 1e-300))}
        if self._config.clip is not None:
            weights = np.concatenate([np.ravel(w) for w in jax.tree.leaves(params)])
            result["health/at_clip"] = share_at(self._config.clip.c, weights)
        return result | {
            f"health/gradient_norm/{name}": _norm(part) for name, part in _layers(slope)
        }


def share_at(c: float, weights: np.ndarray) -> float:
    """Return the share of weights on the boundary of the box, up to one ulp inside of it."""
    return float(np.mean(np.abs(weights) >= c * (1 - 1e-6)))


def _difference(scores: tuple[Array, Array]) -> float:
    real, fake = scores
    return float(real.mean() - fake.mean())


def _lower_bound(scores: tuple[Array, Array], lipschitz: float | None) -> dict[str, float]:
    """Return what the critic's score on held-out data shows of W1, and the bound it proves.

    Scores are clipped to the range of one half of them; the other half gives the bound.
    """
    if lipschitz is None or not lipschitz > 0:
        return {}
    real, fake = map(np.asarray, scores)
    half = len(real) // 2
    seen = np.concatenate([real[:half], fake[:half]])
    dual, margin = held_out_difference(real[half:], fake[half:], seen, 1 - CONFIDENCE)
    return {
        "w1/lipschitz": lipschitz,
        "w1/critic": _difference(scores) / lipschitz,
        "w1/critic/lower": max(dual - margin, 0.0) / lipschitz,
        "w1/critic/points": len(real) - half,
    }


def _layers(tree: dict[str, PyTree]) -> list[tuple[str, PyTree]]:
    """Return the layers with a matrix; a bias alone may have no gradient, as in the output."""
    return [
        (name, part)
        for name, part in tree.items()
        if any(np.ndim(leaf) > 1 for leaf in jax.tree.leaves(part))
    ]


def _norm(tree: PyTree) -> float:
    return float(np.sqrt(sum(np.square(x).sum() for x in jax.tree.leaves(tree))))


class Improvement(NamedTuple):
    """Effect of extra critic steps on its estimate, read from an evaluation.

    Attributes:
      data: held-out or training data.
      before, after: the estimate.
      gain, error: the increase and its standard error, as shares of `after`.
    """

    data: str
    before: float
    after: float
    gain: float
    error: float

    @property
    def is_large(self) -> bool:
        """Whether the gain, as measured, is that of a critic far from its optimum."""
        return self.gain > _MISSING

    @property
    def is_certainly_large(self) -> bool:
        return self.gain - 3 * self.error > _MISSING


def improvement_of(found: dict[str, float]) -> Improvement | None:
    """Return the improvement that an evaluation measured; None if any of its numbers is missing."""
    for kind, data in (("held_out", "held-out data"), ("training", "training data")):
        before = found.get(f"health/{kind}", found.get(f"w1/{kind}"))
        rest = [found.get(f"health/{name}") for name in (f"{kind}_later", "gain", "gain_error")]
        if before is not None and None not in rest:
            return Improvement(data, before, *rest)  # type: ignore[arg-type]
    return None


def diagnose(found: dict[str, float]) -> dict[str, str]:
    """Return human-readable warnings about the critic, by topic; empty if all is well."""
    warnings = {}
    norms = {
        name.rpartition("/")[2]: value
        for name, value in found.items()
        if name.startswith("health/gradient_norm/")
    }
    more = improvement_of(found)
    if more is not None and more.is_certainly_large:
        warnings["optimum"] = (
            f"the critic is not near its optimum: {_EXTRA_STEPS} extra steps take its estimate on "
            f"{more.data} from {more.before:.3g} to {more.after:.3g}; raise n_critic or its "
            f"learning rate"
        )
    if found.get("health/step_cosine", 1.0) < 0:
        warnings["direction"] = (
            f"the critic's optimizer steps against the gradient (cosine "
            f"{found['health/step_cosine']:.2f}); use less momentum or a lower learning rate"
        )
    if found.get("health/at_clip", 0.0) > _PILED_UP:
        warnings["box"] = (
            f"{found['health/at_clip']:.0%} of the critic's weights sit at the clip value; "
            f"raise clip.c, or use a penalty instead"
        )
    if norms and min(norms.values()) < _VANISHED * max(norms.values()):
        least, most = min(norms, key=norms.__getitem__), max(norms, key=norms.__getitem__)
        warnings["layers"] = (
            f"the critic's gradient vanishes between layers ({norms[least]:.1e} in {least}, "
            f"{norms[most]:.1e} in {most}); change clip.c, or use a penalty instead"
        )
    return warnings
