"""Certified bounds on W1 between samples of a run and held-out data.

A generator in training is close to its data, so exact W1 of a few thousand samples is mostly
noise, and the run's own critic proves only a small part of W1. Here `estimate_w1` fits another
critic for the purpose, on samples that training never sees.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from wgan_jax.data.dataset import Dataset, Units
from wgan_jax.estimate import estimate_w1
from wgan_jax.experiment.evaluation.classes import FEWEST_ROWS, w1_by_class
from wgan_jax.experiment.evaluation.features import Features
from wgan_jax.experiment.evaluation.samples import (
    Unlabelled,
    examples_of,
    generate,
    generated,
    sample_shape,
)
from wgan_jax.experiment.evaluation.units import CONFIDENCE, in_units
from wgan_jax.gan import GAN
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.transforms.ema import with_ema
from wgan_jax.types import Array, GANState, PyTree

logger = logging.getLogger(__name__)

_MOST_ROWS, _MOST_VALUES = 20_000, 2**25
_MORE_DRAWS, _MORE_CONES = 4, 2  # factors at the end of a run; draws, of distributions


class Effort(NamedTuple):
    """Settings of `estimate_w1` that are cheap enough for evaluations during training."""

    steps: int = 200
    cones: int = 256
    batch_size: int = 512
    held_out: int = 16_384
    transport_size: int = 512
    transports: int = 2


EFFORT = Effort()


class CertifiedW1:
    """Estimates W1 between samples of a generator and held-out data.

    For a distribution, both are drawn without limit; otherwise the held-out rows, at most 20,000,
    are compared with as many samples. Without held-out data the result is empty.

    Args:
      gan: generates the samples.
      unseen: the held-out data, or None.
      units: converts results back to the units of the data.
    """

    def __init__(self, gan: GAN, unseen: Dataset | None, units: Units | None = None):
        self._gan, self._units, self._unseen = gan, units, unseen
        self._rows: PyTree = None

    def __call__(
        self,
        state: GANState,
        *,
        final: bool = False,
        features: Features | None = None,
        num: int | None = None,
    ) -> dict[str, float]:
        """Return the results by name, for the weights that samples are drawn with.

        - `w1/value`, `w1/lower`, `w1/upper`: the estimate, and the bounds that hold together
          with 95% confidence;
        - `w1/value/points`: number of held-out data behind the lower bound.

        `final` uses more cones and more draws of distributions, and adds the same between
        held-out data and others, and W1 within each class of finite data with labels:

        - `w1/value/floor`, `w1/upper/floor`, whose lower bound is 0;
        - `w1/class/NAME`, `w1/class/NAME/lower`, ...: see `w1_by_class`.

        With `features`, W1 is measured between features, and each key includes their name:
        `w1/value/lenet`. At most `num` held-out rows are used.
        """
        unseen = self._unseen
        if unseen is None or (unseen.size is not None and unseen.size < FEWEST_ROWS):
            return {}
        root = derive_key(state.key, Purpose.CERTIFIED, state.step.generator)
        root = root if features is None else jax.random.fold_in(root, 0)
        on_fakes, on_estimate, on_data = jax.random.split(root, 3)
        state = with_ema(state)
        fake: Any
        real: Any
        rows = fakes = None
        if unseen.size is None:
            fake, real = generated(self._gan, state), Unlabelled(unseen)
        else:
            rows = self._rows_of(unseen, state.key)
            real = examples_of(rows)[:num]
            fakes = generate(self._gan, state, on_fakes, len(real))
            fake = examples_of(fakes)
        by_class: dict[str, float] = {}
        try:
            result = _estimate(fake, real, on_estimate, final, features)
            if final:
                floor = _estimate(*_halves(real), on_data, final, features)
                result |= {f"{name}/floor": floor[name] for name in ("w1/value", "w1/upper")}
            if final and features is None and isinstance(fakes, tuple):
                on_classes = jax.random.fold_in(root, 1)
                by_class = self._by_class(fakes, rows, unseen.class_names, on_classes)
        except ValueError as error:  # samples of a diverging run
            logger.warning("step %s: W1 is not estimated: %s", f"{int(state.step):,}", error)
            return {}
        if features is None:
            return in_units(result, self._units) | by_class
        return {_key(features, name): value for name, value in result.items()}

    def _by_class(
        self, fakes: PyTree, rows: PyTree, names: Sequence[str], key: Array
    ) -> dict[str, float]:
        """Return W1 within each class at the effort of training, in the unit of the data."""

        def estimate(fake: np.ndarray, real: np.ndarray, label: int) -> dict[str, float]:
            found = _estimate(fake, real, jax.random.fold_in(key, label), False, None)
            return in_units(found, self._units)

        try:
            return w1_by_class(fakes, rows, names, estimate)
        except ValueError as error:  # a class of another scale than the others
            logger.warning("W1 by class is not estimated: %s", error)
            return {}

    def _rows_of(self, unseen: Dataset, key: Array) -> PyTree:
        """Return the held-out rows [n, ...], or pairs of them, that all evaluations share."""
        if self._rows is None:
            values = int(np.prod(sample_shape(unseen)))
            n = min(_MOST_ROWS, _MOST_VALUES // values, unseen.size or 0)
            self._rows = next(unseen.draws(derive_key(key, Purpose.HELD_OUT), n, 1))
        return self._rows


def critic_share(found: dict[str, float]) -> dict[str, float]:
    """Return the share of W1 that the run's own critic sees: its score over its Lipschitz bound.

    Example:
      >>> critic_share({"w1/critic": 0.5, "w1/value": 2.0})
      {'w1/critic_share': 0.25}
      >>> critic_share({"w1/critic": 0.5})
      {}
    """
    if not found.get("w1/value", 0) > 0 or "w1/critic" not in found:
        return {}
    return {"w1/critic_share": found["w1/critic"] / found["w1/value"]}


def _estimate(
    p: Any, q: Any, key: Array, final: bool, features: Features | None
) -> dict[str, float]:
    effort = EFFORT
    if final:
        draws = (_MORE_DRAWS if callable(p) else 1) * effort.held_out
        effort = effort._replace(held_out=draws, cones=_MORE_CONES * effort.cones)
    w1 = estimate_w1(
        p, q, key=key, features=features, confidence=CONFIDENCE, progress=False, **effort._asdict()
    )
    return {
        "w1/value": w1.value,
        "w1/lower": w1.lower,
        "w1/upper": w1.upper,
        "w1/value/points": w1.n_q,
    }


def _key(features: Features, name: str) -> str:
    """Turn `w1/value/points` into `w1/value/lenet/points`."""
    family, number, *leaf = name.split("/")
    return "/".join([family, number, features.name, *leaf])


def _halves(real: Any) -> tuple[Any, Any]:
    """Return data and other data: a distribution twice, or two halves of the rows."""
    return (real, real) if callable(real) else (real[: len(real) // 2], real[len(real) // 2 :])
