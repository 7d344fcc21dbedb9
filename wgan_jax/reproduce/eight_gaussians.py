"""The ring of 8 Gaussians under five methods: which find the modes, and when.

Each seed is an independent run; the table shows means and standard deviations over seeds.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax import distances
from wgan_jax.data.toy import Ring
from wgan_jax.experiment.config_io import config_hash
from wgan_jax.metrics import mode_coverage
from wgan_jax.networks import MLP
from wgan_jax.reproduce.figure import (
    Claim,
    Result,
    Settings,
    Table,
    mean_std,
    pyplot,
    seeds_in_words,
)
from wgan_jax.reproduce.journal import ResultCache
from wgan_jax.reproduce.methods import toy_methods
from wgan_jax.reproduce.runs import RunHistory, train_seeds

METHODS = ("GAN", "Unrolled GAN", "WGAN", "WGAN-GP", "WGAN-LP")
COLORS = ("#d1495b", "#e9c46a", "#2a9d8f", "#264653", "#7b2d8b")
RING = Ring()
_POINTS, _SECTORS = 400, 72
_NEAR = 0.1
_RING_THEN_DENSITY = ("radial_w1", "angular_kl")
_HEAD = [
    "method",
    "modes of 8",
    "good samples",
    "reverse KL",
    f"exact W1 of {_POINTS}",
    "radial W1",
    "angular KL",
]


def run(settings: Settings) -> Result:
    seeds = range(settings.seeds or settings.by_size(2, 10))
    steps, snapshots = settings.by_size(20, 4_000, 25_000), settings.by_size(2, 20)
    width, batch_size = settings.by_size((8, 16), (64, 64), (128, 256))
    generator = MLP(features=(width,) * 3, output_shape=(2,))
    configs = {
        name: dataclasses.replace(config, generator=generator, batch_size=batch_size)
        for name, config in toy_methods(steps, RING).items()
    }
    cache = ResultCache(settings.cache_path, {"size": settings.size, "seeds": len(seeds)})

    def method(name: str, config: str) -> dict[str, Any]:
        runs = train_seeds(configs[name], seeds, snapshots=snapshots, samples=2_500)
        shown = runs[0].samples[_shown(snapshots + 1)].astype(float).round(4).tolist()
        return {"runs": [history(run) for run in runs], "shown": shown}

    measured: dict[str, Any] = {}
    strips: dict[str, np.ndarray] = {}
    for name in METHODS:
        result = cache({"name": name, "config": config_hash(configs[name])}, method)
        measured[name], strips[name] = result["runs"], np.array(result["shown"])
        print(f"{name:13} {' '.join(_row(measured[name]))}", flush=True)
    at = max(1, steps // snapshots) * np.arange(snapshots + 1)
    numbers = {
        "steps": at.tolist(),
        "w1_floor": distances.w1_floor(RING, _POINTS, jax.random.key(5)),
        "seeds": len(seeds),
        "methods": {name: statistics(runs, at) for name, runs in measured.items()},
        "runs": measured,
    }
    table = Table(_HEAD, [[name, *_row(runs)] for name, runs in measured.items()])
    return Result(draw(strips, at, numbers), numbers, claims(measured, at), table, cache.earlier)


def _shown(snapshots: int) -> np.ndarray:
    """Return the indices of the snapshots that a strip shows, denser at the start."""
    return np.unique((np.linspace(0, 1, 6) ** 2 * (snapshots - 1)).round().astype(int))


def history(track: RunHistory) -> dict[str, list[float]]:
    """Return the measures of a run at each snapshot."""
    real = np.asarray(RING(jax.random.key(123), 2_500))
    rows = [measure(samples, real) for samples in track.samples]
    return {name: [row[name] for row in rows] for name in rows[0]}


def measure(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Return coverage, exact W1, and the distances of radius and angle to those of the data.

    - `reverse_kl`: KL(model || data) over the nearest modes;
    - `radial_w1`: W1 of the distances from the center, in units of length;
    - `angular_kl`: KL(data || model) of the angle, in nats, over sectors narrow enough to
      separate modes from the arcs between them; half a sample is added to each sector.
    """
    coverage = mode_coverage(samples, RING.centers, RING.std)
    uniform = jnp.full(len(RING.centers), 1 / len(RING.centers), jnp.float32)
    distance = np.linalg.norm(samples[:, None] - RING.centers, axis=-1)
    good = distance.min(1) < 3 * RING.std
    nearest = distance.argmin(1)
    radius = [jnp.asarray(np.linalg.norm(x, axis=1), jnp.float32) for x in (samples, real)]
    return {
        "modes": coverage.found,
        "high_quality": coverage.high_quality,
        "reverse_kl": distances.kl(
            _shares(nearest[good] if good.any() else nearest, len(uniform)), uniform
        ).item(),
        "w1": distances.exact_w1(samples[:_POINTS], real[:_POINTS]),
        "radial_w1": distances.w1_sorted(*radius).item(),
        "angular_kl": distances.kl(
            _shares(_sector(real), _SECTORS), _shares(_sector(samples), _SECTORS, 0.5)
        ).item(),
    }


def _sector(points: np.ndarray) -> np.ndarray:
    """Return the sector of each point; modes are in the middle of theirs."""
    turns = np.arctan2(points[:, 1], points[:, 0]) / (2 * np.pi)
    return np.round(turns * _SECTORS).astype(int) % _SECTORS


def _shares(which: np.ndarray, count: int, extra: float = 0.0) -> jax.Array:
    counts = np.bincount(which, minlength=count) + extra
    return jnp.asarray(counts / counts.sum(), jnp.float32)


def arrival(values: list[float], steps: np.ndarray) -> float:
    """Return the iteration of the first snapshot within a tenth of the initial error, or inf."""
    close = np.flatnonzero(np.array(values) <= _NEAR * values[0])
    return float(steps[close[0]]) if len(close) else np.inf


def arrivals(runs: list[dict[str, list[float]]], steps: np.ndarray) -> dict[str, list[float]]:
    """Return when the radius and the angle of each run arrive."""
    return {name: [arrival(run[name], steps) for run in runs] for name in _RING_THEN_DENSITY}


def ring_first(runs: list[dict[str, list[float]]], steps: np.ndarray) -> float:
    """Return the share of runs whose radius arrives before their angle."""
    radius, angle = (np.array(times) for times in arrivals(runs, steps).values())
    return float(np.mean(radius < angle))


def statistics(runs: list[dict[str, list[float]]], steps: np.ndarray) -> dict[str, Any]:
    """Return mean and standard deviation over seeds of every measure at each snapshot."""
    return {
        name: {
            "mean": np.mean([run[name] for run in runs], axis=0).tolist(),
            "std": np.std([run[name] for run in runs], axis=0).tolist(),
        }
        for name in runs[0]
    } | {"arrivals": arrivals(runs, steps), "ring_before_density": ring_first(runs, steps)}


def last(runs: list[dict[str, list[float]]], name: str) -> np.ndarray:
    return np.array([run[name][-1] for run in runs])


def _row(runs: list[dict[str, list[float]]]) -> list[str]:
    forms = {"modes": ".1f", "high_quality": ".1%"}
    return [mean_std(last(runs, name), forms.get(name, ".3f")) for name in runs[0]]


def claims(measured: dict[str, Any], steps: np.ndarray) -> list[Claim]:
    modes = {name: last(runs, "modes") for name, runs in measured.items()}
    w1 = {name: last(runs, "w1") for name, runs in measured.items()}
    worst, which = max((w1[name].max(), name) for name in ("WGAN", "WGAN-GP", "WGAN-LP"))
    first = ring_first(measured["WGAN"], steps)
    radius, angle = (np.median(t) for t in arrivals(measured["WGAN"], steps).values())
    return [
        Claim(
            "WGAN finds all 8 modes in every seed",
            bool((modes["WGAN"] == 8).all()),
            f"{int((modes['WGAN'] == 8).sum())} of {seeds_in_words(len(modes['WGAN']))}",
        ),
        Claim(
            "the GAN loses modes",
            bool(modes["GAN"].mean() < 8),
            f"{modes['GAN'].mean():.1f} modes on average, at least {modes['GAN'].min()}",
        ),
        Claim(
            "WGAN, with clipping or a penalty, ends closer to the data in W1 in every seed than "
            "the GAN does on average",
            bool(worst < w1["GAN"].mean()),
            f"largest W1 over seeds {worst:.3f} ({which}); GAN {w1['GAN'].mean():.3f} on average",
        ),
        Claim(
            "WGAN finds the ring before the density on it: in most seeds the radius settles "
            "before the angle",
            first > 0.5,
            f"in {first:.0%} of the seeds; median iterations {radius:,.0f} and {angle:,.0f}",
        ),
    ]


PANELS = {
    "modes": "modes found, of 8",
    "high_quality": "share of samples within 3 std",
    "reverse_kl": "reverse KL over modes, nats",
    "w1": "exact $W_1$ to the data",
    "radial_w1": "ring: $W_1$ of the radius",
    "angular_kl": "density on it: KL of the angle, nats",
}


def draw(strips: dict[str, np.ndarray], steps: np.ndarray, numbers: dict[str, Any]) -> Any:
    plt = pyplot()
    shown = _shown(len(steps))
    rows, columns = len(METHODS), len(shown) + 1
    figure = plt.figure(figsize=(1.5 * columns + 1, 1.5 * rows + 6.4), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.5 * rows, 6.0])
    real = np.asarray(RING(jax.random.key(1), 2_500))
    for cells, name in zip(above.subplots(rows, columns), METHODS, strict=True):
        for ax, points in zip(cells, [*strips[name], real], strict=True):
            density(ax, points)
        cells[0].set_ylabel(name, fontsize=9)
    for ax, step in zip(above.axes, [*steps[shown], None], strict=False):
        ax.set_title("data" if step is None else f"{step:,}", fontsize=9)
    panels = below.subplots(2, 3, sharex=True)
    for ax, (measure, label) in zip(panels.flat, PANELS.items(), strict=True):
        for name, color in zip(METHODS, COLORS, strict=True):
            values = np.array([run[measure] for run in numbers["runs"][name]])
            values = (
                np.maximum(values, 1e-3) if measure not in ("modes", "high_quality") else values
            )
            ax.plot(steps, values.mean(0), color=color, label=name, linewidth=1.4)
            ax.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.12)
        ax.set_title(label, fontsize=10)
        ax.set_yscale("linear" if measure in ("modes", "high_quality") else "log")
        ax.grid(alpha=0.3)
    panels[1, 0].axhline(numbers["w1_floor"], color="grey", linestyle="--", linewidth=0.8)
    for ax in panels[1]:
        ax.set_xlabel("generator iterations")
    handles, names = panels[0, 0].get_legend_handles_labels()
    below.legend(handles, names, loc="outside lower center", ncols=len(METHODS))
    figure.suptitle(
        f"8 Gaussians: densities of seed 0 by generator iterations; below, mean and range of "
        f"{seeds_in_words(numbers['seeds'])}\n(dashed: data against other data)"
    )
    return figure


def density(ax: Any, points: np.ndarray) -> None:
    """Draw points of the plane as an image of their density."""
    image, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=96, range=[[-3, 3], [-3, 3]])
    ax.imshow(np.log1p(image.T), origin="lower", extent=(-3, 3, -3, 3), cmap="magma")
    ax.set(xticks=[], yticks=[])
