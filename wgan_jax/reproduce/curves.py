"""Shared by figures 3, 4 and 8: a training curve next to the quality of the samples.

Quality is a distance between samples and images that training has not seen, which knows
nothing of the critic. On digits it is sliced W1; exact W1 stands beside it in the table:
between 297 points of 64 pixels most of it is the distance between any two digits,
and blurred samples, which lie in the middle, come out ahead. At size `real`, on Fashion-MNIST,
it is the Fréchet distance on a classifier's features, with W1 between images beside it.
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
from wgan_jax.reproduce.figure import Settings, Table, mean_std, pyplot, seeds_in_words
from wgan_jax.reproduce.garments import GarmentRun, Garments
from wgan_jax.reproduce.image_methods import image_config
from wgan_jax.reproduce.runs import RunHistory, train_seeds

SETTINGS: dict[str, dict[str, Any]] = {
    "MLP generator": {"generator": "MLP"},
    "DCGAN generator": {"generator": "DCGAN"},
    "MLPs, learning rate too high": {"generator": "MLP", "critic": "MLP"},
}
_RATES = {
    "MLP generator": {"WGAN": 2e-4, "GAN": 2e-4},
    "DCGAN generator": {"WGAN": 2e-4, "GAN": 2e-4},
    "MLPs, learning rate too high": {"WGAN": 2e-2, "GAN": 2e-2},
}
_SNAPSHOTS, _HELD_OUT = 24, 297


class Measures(NamedTuple):
    """What the samples of a size are, and how their quality is measured, in words.

    `name` and `other_name` are those of the two measures in a figure's JSON.
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
    """One run: a metric, median-filtered, and the quality of its samples.

    Attributes:
      steps: generator iterations at each snapshot but the first.
      metric: the filtered metric at these.
      quality: distance between samples and held-out images at these.
      other: that of the other measure.
      samples: 16 of the last.
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
        """Spearman's rank correlation of the metric and the other measure."""
        return _rank_correlation(self.metric, self.other)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """0 where one of them does not move or is no number."""
    if not all(np.isfinite(x).all() and np.ptp(x) > 0 for x in (a, b)):
        return 0.0
    return float(spearmanr(a, b).statistic)


class Curves(NamedTuple):
    """The runs of a figure: curves of every seed, by setting.

    `floors` is what both measures make of held-out data and other data.
    """

    runs: dict[str, list[Curve]]
    floors: dict[str, float]
    measures: Measures
    earlier: tuple[float, float] = (0.0, 0.0)


def curves(method: str, metric: str, settings: Settings) -> Curves:
    """The curves of a method, whose generators and critics are `SETTINGS`."""
    if settings.size == "real":
        return _on_garments(method, metric, settings)
    seeds = range(settings.seeds or settings.by_size(1, 3))
    found = {}
    for name, networks in SETTINGS.items():
        config = image_config(
            method,
            Digits(),
            size=8,
            filters=settings.by_size(8, 32, 128),
            width=settings.by_size(32, 128, 512),
            steps=settings.by_size(50, 1_200 if method == "WGAN" else 2_400, 20_000),
            rate=_RATES[name],
            **networks,
        )
        snapshots = settings.by_size(5, _SNAPSHOTS)
        tracks = train_seeds(config, seeds, snapshots=snapshots, samples=_HELD_OUT)
        found[name] = [curve(track, metric) for track in tracks]
        print(f"{method}, {name}: {summary(found[name], _ON_DIGITS)}", flush=True)
    return Curves(found, floors(), _ON_DIGITS)


def _on_garments(method: str, metric: str, settings: Settings) -> Curves:
    """Both methods with five critic steps, for the paper trains its discriminator well."""
    garments, found = Garments(settings), {}
    for name, networks in SETTINGS.items():
        rate = _RATES[name][method]
        found[name] = [
            _garment_curve(garments(method, seed=seed, rate=rate, **networks), metric)
            for seed in range(settings.seeds or 1)
        ]
        print(f"{method}, {name}: {summary(found[name], _ON_GARMENTS)}", flush=True)
    return Curves(found, {"frechet": garments.floor()}, _ON_GARMENTS, garments.earlier)


def _garment_curve(run: GarmentRun, metric: str) -> Curve:
    raw = run.metrics[metric]
    filtered = running_median(raw)
    at = filtered[run.steps - 1]
    return Curve(run.steps, at, run.frechet, run.w1[:, 0], run.samples[:16], raw, filtered)


def curve(track: RunHistory, metric: str) -> Curve:
    real, steps, raw = _held_out(), track.steps[1:], track.metrics[metric]
    drawn = [x.reshape(len(x), -1) for x in track.samples[1:]]
    sliced, exact = (np.array([w1(x, real) for x in drawn]) for w1 in (_sliced, exact_w1))
    filtered = running_median(raw)
    last = track.samples[-1][:16]
    return Curve(steps, filtered[steps - 1], sliced, exact, last, raw, filtered)


def floors() -> dict[str, float]:
    """Both measures between the held-out digits and as many others: means over five draws.

    The digits are stored ten classes at a time, so that the first of them are nearer to the
    held-out ones than a random draw is.
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
    """All held-out digits, as points."""
    images = Digits(split="test").open().examples
    return images.reshape(_HELD_OUT, -1).astype(np.float32) / 127.5 - 1


def summary(found: list[Curve], measures: Measures) -> str:
    correlations = [c.correlation for c in found]
    ends = np.mean([c.quality[-1] for c in found])
    reach = f" ({min(correlations):+.2f} to {max(correlations):+.2f})" if len(found) > 1 else ""
    return (
        f"rank correlation with {measures.quality} {np.mean(correlations):+.2f}{reach}, which is "
        f"{ends:{measures.form}} at the end"
    )


def table(found: Curves) -> Table:
    """Mean and spread over the seeds of each setting."""
    measures = found.measures
    return Table(
        [
            "networks",
            "metric at the end",
            f"{measures.quality}{_of_how_many(measures)} at the end",
            "rank correlation",
            f"{measures.other} at the end",
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
            for name, runs in found.runs.items()
        ],
    )


def _of_how_many(measures: Measures) -> str:
    return f" of {_HELD_OUT}" if measures is _ON_DIGITS else ""


def numbers(found: Curves) -> dict[str, Any]:
    first, second = found.measures.name, found.measures.other_name
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
        for name, runs in found.runs.items()
    }
    return {"floors": found.floors, "runs": runs}


def draw(found: Curves, label: str, title: str, color: str) -> Any:
    """Rows of metric, quality and samples; one line a seed, samples of the first."""
    plt = pyplot()
    runs_of, measures = found.runs, found.measures
    figure, cells = plt.subplots(
        3, len(runs_of), figsize=(4 * len(runs_of) + 0.6, 9), layout="constrained", squeeze=False
    )
    bottom = found.floors[measures.name]
    for column, (name, runs) in zip(cells.T, runs_of.items(), strict=True):
        first = runs[0].raw
        at = np.arange(1, len(first) + 1)
        column[0].plot(at, first, color=color, alpha=0.3, linewidth=0.5, label="each iteration")
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
        column[2].imshow(_mosaic(runs[0].samples), cmap="gray", vmin=-1, vmax=1)
        column[2].set(xticks=[], yticks=[], xlabel="samples at the end, seed 0")
    cells[0, 0].set_ylabel(label)
    cells[1, 0].set_ylabel(f"{measures.quality.replace('W1', '$W_1$')}\nto held-out images")
    cells[0, 0].legend()
    cells[1, 0].legend()
    seeds = len(next(iter(runs_of.values())))
    lines = seeds_in_words(seeds) + (", a line each" if seeds > 1 else "")
    figure.suptitle(f"{title}, on {measures.data}\n{lines}")
    return figure


def _mosaic(images: np.ndarray) -> np.ndarray:
    rows = images[:16, :, :, 0].reshape(4, 4, *images.shape[1:3])
    return np.block([[np.pad(x, 1, constant_values=-1) for x in row] for row in rows])
