"""Figures 3, 4 and 8: a training curve and the quality of the samples.

Quality is a distance, independent of the critic, between samples and held-out images. On
digits it is sliced W1. The table adds exact W1, which favors blurred samples: between 297 points
of 64 pixels most of it is the distance between any two digits, and blurred ones lie in the middle.
At size `real`, on Fashion-MNIST, quality is the Fréchet distance on a classifier's features, and
the table adds W1 between images.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from wgan_jax.data.images import Digits
from wgan_jax.distances import exact_w1, sliced_w1
from wgan_jax.experiment.plots import running_median
from wgan_jax.reproduce.figure import (
    Settings,
    Table,
    draw_samples,
    mean_std,
    pyplot,
    seeds_in_words,
)
from wgan_jax.reproduce.garments import GarmentRun, Garments
from wgan_jax.reproduce.image_methods import image_config
from wgan_jax.reproduce.runs import RunHistory, train_seeds

SETTINGS: dict[str, dict[str, Any]] = {
    "MLP generator": {"generator": "MLP", "rate": 2e-4},
    "DCGAN generator": {"generator": "DCGAN", "rate": 2e-4},
    "MLPs, learning rate too high": {"generator": "MLP", "critic": "MLP", "rate": 2e-2},
}
_SNAPSHOTS, _HELD_OUT = 24, 297


class Measures(NamedTuple):
    """Labels of the data and of the two quality measures of a size.

    `name` and `other_name` are the keys of the measures in a figure's JSON.
    """

    data: str
    quality: str
    other: str
    name: str
    other_name: str
    form: str


_ON_DIGITS = Measures(
    "digits", "sliced W1", f"exact W1 of {_HELD_OUT}", "sliced_w1", "exact_w1", ".3f"
)
_ON_GARMENTS = Measures(
    "Fashion-MNIST", "Fréchet distance on LeNet features", "W1", "frechet", "w1", ".2f"
)


class Curve(NamedTuple):
    """A median-filtered metric of a run and the quality of its samples.

    Attributes:
      steps: generator iterations at each snapshot but the first.
      metric: the filtered metric at these snapshots.
      quality: distance between samples and held-out images at these snapshots.
      other: the same distance by the second measure.
      samples: 16 samples of the last snapshot.
      raw: the metric at every iteration.
      filtered: its running median over 101 iterations.
    """

    steps: np.ndarray
    metric: np.ndarray
    quality: np.ndarray
    other: np.ndarray
    samples: np.ndarray
    raw: np.ndarray
    filtered: np.ndarray

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation of the metric and the quality."""
        return _rank_correlation(self.metric, self.quality)

    @property
    def correlation_other(self) -> float:
        """Spearman's rank correlation of the metric and the second measure."""
        return _rank_correlation(self.metric, self.other)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation; 0 if either input is constant or not finite."""
    if not all(np.isfinite(x).all() and np.ptp(x) > 0 for x in (a, b)):
        return 0.0
    return float(spearmanr(a, b).statistic)


class Curves(NamedTuple):
    """The runs of a figure: one curve per seed, by setting.

    `floors` holds the measures between held-out data and other data.
    """

    runs: dict[str, list[Curve]]
    floors: dict[str, float]
    measures: Measures
    earlier: tuple[float, float] = (0.0, 0.0)


def curves(method: str, metric: str, settings: Settings) -> Curves:
    """Return the curves of a method in each of `SETTINGS`."""
    if settings.size == "real":
        return _on_garments(method, metric, settings)
    seeds = range(settings.seeds or settings.by_size(1, 3))
    runs = {}
    for name, setting in SETTINGS.items():
        config = image_config(
            method,
            Digits(),
            size=8,
            filters=settings.by_size(8, 32, 128),
            width=settings.by_size(32, 128, 512),
            steps=settings.by_size(50, 1_200 if method == "WGAN" else 2_400, 20_000),
            **setting,
        )
        snapshots = settings.by_size(5, _SNAPSHOTS)
        histories = train_seeds(config, seeds, snapshots=snapshots, samples=_HELD_OUT)
        runs[name] = [curve(history, metric) for history in histories]
        print(f"{method}, {name}: {summary(runs[name], _ON_DIGITS)}", flush=True)
    return Curves(runs, floors(), _ON_DIGITS)


def _on_garments(method: str, metric: str, settings: Settings) -> Curves:
    """Return curves with five critic steps: the paper trains its discriminator well, too."""
    garments, runs = Garments(settings), {}
    for name, setting in SETTINGS.items():
        runs[name] = [
            _garment_curve(garments(method, seed=seed, **setting), metric)
            for seed in range(settings.seeds or 1)
        ]
        print(f"{method}, {name}: {summary(runs[name], _ON_GARMENTS)}", flush=True)
    return Curves(runs, {"frechet": garments.floor()}, _ON_GARMENTS, garments.earlier)


def _garment_curve(run: GarmentRun, metric: str) -> Curve:
    raw = run.metrics[metric]
    filtered = running_median(raw)
    at = filtered[run.steps - 1]
    return Curve(run.steps, at, run.frechet, run.w1[:, 0], run.samples[:16], raw, filtered)


def curve(history: RunHistory, metric: str) -> Curve:
    real, steps, raw = _held_out(), history.steps[1:], history.metrics[metric]
    clouds = [x.reshape(len(x), -1) for x in history.samples[1:]]
    sliced, exact = (np.array([w1(x, real) for x in clouds]) for w1 in (_sliced, exact_w1))
    filtered = running_median(raw)
    last = history.samples[-1][:16]
    return Curve(steps, filtered[steps - 1], sliced, exact, last, raw, filtered)


def floors() -> dict[str, float]:
    """Return both measures between the held-out digits and as many others: means of five draws.

    Draws are random because the digits are stored ten classes at a time: the first of them are
    closer to the held-out ones than a random draw is.
    """
    others, held_out = Digits().open(), _held_out()
    draws = [others.at(jax.random.key(1), i, _HELD_OUT) for i in range(others.size // _HELD_OUT)]
    clouds = [np.asarray(images).reshape(_HELD_OUT, -1) for images in draws]
    return {
        name: float(np.mean([w1(x, held_out) for x in clouds]))
        for name, w1 in (("sliced_w1", _sliced), ("exact_w1", exact_w1))
    }


def _sliced(x: np.ndarray, y: np.ndarray) -> float:
    return float(sliced_w1(jnp.asarray(x), jnp.asarray(y), jax.random.key(0), projections=1_000))


def _held_out() -> np.ndarray:
    """Return all held-out digits as points."""
    images = Digits(split="test").open().examples
    return images.reshape(_HELD_OUT, -1).astype(np.float32) / 127.5 - 1


def summary(runs: list[Curve], measures: Measures) -> str:
    correlations = [c.correlation for c in runs]
    ends = np.mean([c.quality[-1] for c in runs])
    span = f" ({min(correlations):+.2f} to {max(correlations):+.2f})" if len(runs) > 1 else ""
    return (
        f"rank correlation with {measures.quality} {np.mean(correlations):+.2f}{span}, final "
        f"{measures.quality} {ends:{measures.form}}"
    )


def table(result: Curves) -> Table:
    """Return mean and standard deviation over the seeds of each setting."""
    measures = result.measures
    of_how_many = f" of {_HELD_OUT}" if measures is _ON_DIGITS else ""
    return Table(
        [
            "networks",
            "final metric",
            f"final {measures.quality}{of_how_many}",
            "rank correlation",
            f"final {measures.other}",
            "rank correlation",
        ],
        [
            [
                name,
                mean_std([c.metric[-1] for c in runs], ".3f"),
                mean_std([c.quality[-1] for c in runs], measures.form),
                mean_std([c.correlation for c in runs]),
                mean_std([c.other[-1] for c in runs]),
                mean_std([c.correlation_other for c in runs]),
            ]
            for name, runs in result.runs.items()
        ],
    )


def numbers(result: Curves) -> dict[str, Any]:
    first, second = result.measures.name, result.measures.other_name
    runs = {
        name: [
            {
                "steps": c.steps.tolist(),
                "metric": c.metric.tolist(),
                first: c.quality.tolist(),
                second: c.other.tolist(),
                f"rank_correlation_{first.removesuffix('_w1')}": c.correlation,
                f"rank_correlation_{second.removesuffix('_w1')}": c.correlation_other,
            }
            for c in runs
        ]
        for name, runs in result.runs.items()
    }
    return {"floors": result.floors, "runs": runs}


def draw(result: Curves, label: str, title: str, color: str) -> Any:
    """Draw rows of metric, quality and samples: a line per seed, samples of the first seed."""
    plt = pyplot()
    groups, measures = result.runs, result.measures
    figure, cells = plt.subplots(
        3, len(groups), figsize=(4 * len(groups) + 0.6, 9), layout="constrained", squeeze=False
    )
    bottom = result.floors[measures.name]
    for column, (name, runs) in zip(cells.T, groups.items(), strict=True):
        first = runs[0].raw
        at = np.arange(1, len(first) + 1)
        column[0].plot(at, first, color=color, alpha=0.3, linewidth=0.5, label="every iteration")
        for c in runs:
            column[0].plot(at, c.filtered, color=color, alpha=0.9, linewidth=1.2)
            column[1].plot(c.steps, c.quality, color="#264653", alpha=0.8, linewidth=1.2)
        column[0].plot([], [], color=color, label="median of 101")
        shown = np.concatenate([c.filtered[np.isfinite(c.filtered)] for c in runs])
        if shown.size:
            margin = 0.15 * np.ptp(shown) + 1e-6
            column[0].set_ylim(shown.min() - margin, shown.max() + margin)
        column[0].ticklabel_format(axis="y", useOffset=False)
        column[1].axhline(
            bottom, color="grey", linestyle="--", linewidth=0.8, label="data against data"
        )
        column[0].set_title(
            f"{name}\nrank correlation {np.mean([c.correlation for c in runs]):+.2f}"
        )
        for ax in column[:2]:
            ax.grid(alpha=0.3)
            ax.set_xlabel("generator iterations")
        margins = ((0, 0), (1, 1), (1, 1))
        draw_samples(column[2], np.pad(runs[0].samples[..., 0], margins, constant_values=-1))
        column[2].set_xlabel("final samples, seed 0")
    cells[0, 0].set_ylabel(label)
    cells[1, 0].set_ylabel(f"{measures.quality.replace('W1', '$W_1$')}\nto held-out images")
    cells[0, 0].legend()
    cells[1, 0].legend()
    seeds = len(next(iter(groups.values())))
    lines = seeds_in_words(seeds) + (", one line each" if seeds > 1 else "")
    figure.suptitle(f"{title}, on {measures.data}\n{lines}")
    return figure
