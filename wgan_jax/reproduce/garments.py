"""Runs on Fashion-MNIST at 32 pixels with the paper's 64 filters, judged as they train.

Figures 3 to 8 at size `real` share a few runs. Each is saved next to the figures with its numbers,
so a figure trains only the runs that no other figure has; an interrupted run resumes from its last
snapshot. Quality is the Fréchet distance on features of a classifier of the data, and W1 between
images with its bounds, both to test images.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wgan_jax.experiment.config import Config, Warmup
from wgan_jax.experiment.evaluation.samples import examples_of, generate
from wgan_jax.experiment.plots import to_pixels
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.reproduce.figure import Settings
from wgan_jax.reproduce.garment_judge import Judge, fashion_mnist
from wgan_jax.reproduce.image_methods import image_config
from wgan_jax.reproduce.journal import ResultCache
from wgan_jax.reproduce.runs import Snapshot
from wgan_jax.reproduce.unfinished import UnfinishedRun
from wgan_jax.transforms.ema import with_ema

KEPT = "garments.jsonl"
SHOWN = 64  # final samples that are kept of a run
_JUDGED = 2_500


class Sizes(NamedTuple):
    """Size of the networks and length of a run."""

    filters: int = 64
    width: int = 512
    steps: int = 1_500
    snapshots: int = 15
    warmup: Warmup | None = Warmup()


class GarmentRun(NamedTuple):
    """A finished run.

    Attributes:
      metrics: training metrics at each generator iteration.
      steps: generator iterations at each snapshot but the first.
      frechet: Fréchet distance at these, between 2,500 samples and all test images.
      w1: value, lower and upper bound of W1 between images at these, [snapshots, 3].
      untrained: Fréchet distance before training.
      spread: mean pixel standard deviation at the end, as a share of the data's.
      samples: final samples, [64, 32, 32, 1] in [-1, 1].
    """

    metrics: dict[str, np.ndarray]
    steps: np.ndarray
    frechet: np.ndarray
    w1: np.ndarray
    untrained: float
    spread: float
    samples: np.ndarray


class Garments:
    """Trains the runs that figures request, or reads those that an earlier figure saved.

    Args:
      settings: location of the data and the saved runs.
      sizes: sizes of networks and runs.
    """

    def __init__(self, settings: Settings, sizes: Sizes = Sizes()):  # noqa: B008
        self.dataset = fashion_mnist(settings)
        self._folder = settings.folder
        self._path = None if settings.cache_path is None else self._folder / KEPT
        self._sizes = sizes
        self._settings = {**sizes._asdict(), "warmup": str(sizes.warmup)}
        self._cache = ResultCache(self._path, self._settings)
        self._judge: Judge | None = None

    @property
    def judge(self) -> Judge:
        if self._judge is None:
            self._judge = Judge(self.dataset, self._folder)
        return self._judge

    @property
    def earlier(self) -> tuple[float, float]:
        return self._cache.earlier

    def floor(self) -> float:
        """Return the Fréchet distance of 2,500 training images."""
        return float(self._cache({"floor": "frechet"}, lambda floor: self.judge.floor(_JUDGED)))

    def about_features(self) -> str:
        return str(self._cache({"about": "features"}, lambda about: self.judge.about()))

    def __call__(
        self,
        method: str,
        *,
        generator: str,
        seed: int,
        critic: str = "DCGAN",
        n_critic: int = 5,
        rate: float = 2e-4,
    ) -> GarmentRun:
        """Return the run of `method` with networks as `image_config` names them.

        WGAN has the warm-up of the paper's code: 100 critic steps in each of the first 25
        iterations and in every 500th.
        """
        entry: dict[str, Any] = {
            "method": method,
            "generator": generator,
            "critic": critic,
            "n_critic": n_critic,
            "rate": rate,
            "seed": seed,
        }
        last = self._sizes.snapshots
        config, folder = self._config(**entry), self._folder_of(entry)
        run = UnfinishedRun(config, last, folder, lambda: self.judge.data)

        def judge(snapshot: int, **entry: Any) -> dict[str, Any]:
            now = run.at(snapshot)
            images = generate(
                now.gan, now.state, derive_key(now.state.key, Purpose.QUALITY), _JUDGED
            )
            scores = {"frechet": self.judge.frechet(images), **self.judge.w1(now.gan, now.state)}
            print(_progress(entry, now.step, scores), flush=True)
            metrics = {name: values.tolist() for name, values in now.metrics.items()}
            drawn = self._drawn(now) if snapshot == last else {}
            return {"step": now.step, "metrics": metrics, **scores, **drawn}

        results = []
        for snapshot in range(last + 1):
            results.append(self._cache({**entry, "snapshot": snapshot}, judge))
            run.save()
        run.forget()
        return _as_run(results)

    def _folder_of(self, entry: dict[str, Any]) -> Path | None:
        if self._path is None:
            return None
        text = json.dumps([entry, self._settings], sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()[:16]
        return self._path.with_suffix(".unfinished") / name

    def _drawn(self, now: Snapshot) -> dict[str, Any]:
        key = derive_key(now.state.key, Purpose.SAMPLES)
        samples = examples_of(now.gan.generate(with_ema(now.state), key, _JUDGED))
        return {
            "spread": float(samples.std(0).mean() / self.judge.spread),
            "samples": to_pixels(samples[:SHOWN]).tolist(),
        }

    def _config(
        self, method: str, generator: str, critic: str, n_critic: int, rate: float, seed: int
    ) -> Config:
        config = image_config(
            method,
            self.dataset,
            generator=generator,
            critic=critic,
            size=32,
            filters=self._sizes.filters,
            width=self._sizes.width,
            steps=self._sizes.steps,
            rate=rate,
        )
        warmup = self._sizes.warmup if method == "WGAN" else None
        return dataclasses.replace(config, seed=seed, n_critic=n_critic, warmup=warmup)


def _as_run(results: list[dict[str, Any]]) -> GarmentRun:
    start, *later = results
    w1 = [[at[f"w1/{name}"] for name in ("value", "lower", "upper")] for at in later]
    return GarmentRun(
        metrics={
            name: np.concatenate([at["metrics"][name] for at in later])
            for name in later[0]["metrics"]
        },
        steps=np.asarray([at["step"] for at in later]),
        frechet=np.asarray([at["frechet"] for at in later]),
        w1=np.asarray(w1),
        untrained=start["frechet"],
        spread=later[-1]["spread"],
        samples=np.asarray(later[-1]["samples"], np.float32) / 127.5 - 1,
    )


def _progress(entry: dict[str, Any], step: int, scores: dict[str, float]) -> str:
    return (
        f"{entry['method']}, {entry['generator']} generator, {entry['critic']} critic, "
        f"{entry['n_critic']} critic steps, seed {entry['seed']}, iteration {step:,}: Fréchet "
        f"{scores['frechet']:.3f}, W1 {scores['w1/value']:.2f} (at least {scores['w1/lower']:.2f})"
    )
