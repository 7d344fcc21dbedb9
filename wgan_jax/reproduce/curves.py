"""Shared by figures 3, 4 and 8: a training curve next to the quality of the samples.

Quality is sliced W1 between samples and digits that training has not seen, a
measure that knows nothing of the critic. Exact W1 stands beside it in the table:
between 297 points of 64 pixels most of it is the distance between any two digits,
and blurred samples, which lie in the middle, come out ahead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.stats import spearmanr

from wgan_jax.data.images import Digits
from wgan_jax.distances import exact_w1, sliced_w1
from wgan_jax.experiment.plots import running_median
from wgan_jax.reproduce.figure import Settings, Table, mean_std, pyplot
from wgan_jax.reproduce.image_methods import image_config
from wgan_jax.reproduce.runs import RunHistory, train_seeds

SETTINGS = {
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


class Curve(NamedTuple):
    """One run: a metric, median-filtered, and the quality of its samples.

    Attributes:
      steps: generator iterations at each snapshot but the first.
      metric: the filtered metric at these.
      sliced: sliced W1 between samples and held-out digits at these.
      exact: exact W1 between the same.
      samples: 16 of the last.
      raw: the metric at every iteration.
      filtered: its running median over 101 iterations.
    """

    steps: np.ndarray
    metric: np.ndarray
    sliced: np.ndarray
    exact: np.ndarray
    samples: np.ndarray
    raw: np.ndarray
    filtered: np.ndarray

    @property
    def correlation(self) -> float:
        """Spearman's rank correlation of the metric and sliced W1."""
        return _rank_correlation(self.metric, self.sliced)

    @property
    def correlation_exact(self) -> float:
        """Spearman's rank correlation of the metric and exact W1."""
        return _rank_correlation(self.metric, self.exact)


def _rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """0 where one of them does not move or is no number."""
    if not all(np.isfinite(x).all() and np.ptp(x) > 0 for x in (a, b)):
        return 0.0
    return float(spearmanr(a, b).statistic)


def curves(
    method: str, names: Sequence[str], metric: str, settings: Settings
) -> dict[str, list[Curve]]:
    """Curves of every seed, by setting."""
    seeds = range(settings.seeds or settings.by_size(1, 3))
    found = {}
    for name in names:
        config = image_config(
            method,
            Digits(),
            size=8,
            filters=settings.by_size(8, 32, 128),
            width=settings.by_size(32, 128, 512),
            steps=settings.by_size(50, 1_200 if method == "WGAN" else 2_400, 20_000),
            rate=_RATES[name],
            **SETTINGS[name],
        )
        snapshots = settings.by_size(5, _SNAPSHOTS)
        tracks = train_seeds(config, seeds, snapshots=snapshots, samples=_HELD_OUT)
        found[name] = [curve(track, metric) for track in tracks]
        print(f"{method}, {name}: {summary(found[name])}", flush=True)
    return found


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


def summary(found: list[Curve]) -> str:
    correlations = [c.correlation for c in found]
    ends = np.mean([c.sliced[-1] for c in found])
    return (
        f"rank correlation with sliced W1 {np.mean(correlations):+.2f} "
        f"({min(correlations):+.2f} to {max(correlations):+.2f}), W1 {ends:.3f} at the end"
    )


def table(found: dict[str, list[Curve]]) -> Table:
    """Mean and spread over the seeds of each setting."""
    return Table(
        [
            "networks",
            "metric at the end",
            f"sliced W1 of {_HELD_OUT} at the end",
            "rank correlation",
            f"exact W1 of {_HELD_OUT} at the end",
            "rank correlation",
        ],
        [
            [
                name,
                mean_std([c.metric[-1] for c in runs], ".3f"),
                mean_std([c.sliced[-1] for c in runs], ".3f"),
                mean_std([c.correlation for c in runs]),
                mean_std([c.exact[-1] for c in runs]),
                mean_std([c.correlation_exact for c in runs]),
            ]
            for name, runs in found.items()
        ],
    )


def numbers(found: dict[str, list[Curve]]) -> dict[str, Any]:
    return {
        name: [
            {
                "steps": c.steps.tolist(),
                "metric": c.metric.tolist(),
                "sliced_w1": c.sliced.tolist(),
                "exact_w1": c.exact.tolist(),
                "rank_correlation_sliced": c.correlation,
                "rank_correlation_exact": c.correlation_exact,
            }
            for c in runs
        ]
        for name, runs in found.items()
    }


def draw(found: dict[str, list[Curve]], label: str, title: str, color: str) -> Any:
    """Rows of metric, quality and samples; one line a seed, samples of the first."""
    plt = pyplot()
    figure, cells = plt.subplots(
        3, len(found), figsize=(4 * len(found) + 0.6, 9), layout="constrained", squeeze=False
    )
    bottom = floors()["sliced_w1"]
    for column, (name, runs) in zip(cells.T, found.items(), strict=True):
        first = runs[0].raw
        at = np.arange(1, len(first) + 1)
        column[0].plot(at, first, color=color, alpha=0.3, linewidth=0.5, label="each iteration")
        for c in runs:
            column[0].plot(at, c.filtered, color=color, alpha=0.9, linewidth=1.2)
            column[1].plot(c.steps, c.sliced, color="#264653", alpha=0.8, linewidth=1.2)
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
    cells[1, 0].set_ylabel("sliced $W_1$ to held-out digits")
    cells[0, 0].legend()
    cells[1, 0].legend()
    figure.suptitle(f"{title}\none line a seed, {len(next(iter(found.values())))} seeds")
    return figure


def _mosaic(images: np.ndarray) -> np.ndarray:
    rows = images[:16, :, :, 0].reshape(4, 4, *images.shape[1:3])
    return np.block([[np.pad(x, 1, constant_values=-1) for x in row] for row in rows])
