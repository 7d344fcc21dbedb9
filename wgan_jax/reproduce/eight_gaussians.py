"""The ring of 8 Gaussians under five methods: who finds the modes, and when.

Each seed is a run of its own; tables hold means and standard deviations over them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax import distances
from wgan_jax.data.toy import Ring
from wgan_jax.metrics import mode_coverage
from wgan_jax.reproduce.figure import Claim, Result, Settings, pyplot
from wgan_jax.reproduce.methods import toy_methods
from wgan_jax.reproduce.runs import Track, train_seeds

METHODS = ("GAN", "Unrolled GAN", "WGAN", "WGAN-GP", "WGAN-LP")
COLORS = ("#d1495b", "#e9c46a", "#2a9d8f", "#264653", "#7b2d8b")
RING = Ring()
_POINTS = 1_000
_EPS = 1e-3


def run(settings: Settings) -> Result:
    seeds = range(settings.seeds or settings.pick(2, 10))
    steps, snapshots = settings.pick(20, 6_000), settings.pick(2, 10)
    configs = toy_methods(steps, RING)
    measured: dict[str, Any] = {}
    strips: dict[str, np.ndarray] = {}
    for name in METHODS:
        tracks = train_seeds(configs[name], seeds, snapshots=snapshots, samples=2_500)
        strips[name] = tracks[0].samples
        measured[name] = [history(track) for track in tracks]
        print(f"{name:13} {_summary(measured[name])}", flush=True)
    at = tracks[0].steps
    numbers = {
        "steps": at.tolist(),
        "w1_floor": distances.w1_floor(RING, _POINTS, jax.random.key(5)),
        "seeds": len(seeds),
        "methods": {name: _statistics(runs) for name, runs in measured.items()},
        "runs": measured,
    }
    return Result(draw(strips, at, numbers), numbers, claims(measured))


def history(track: Track) -> dict[str, list[float]]:
    """Measures of a run at each snapshot."""
    real = np.asarray(RING(jax.random.key(123), 2_500))
    rows = [measure(samples, real) for samples in track.samples]
    return {name: [row[name] for row in rows] for name in rows[0]}


def measure(samples: np.ndarray, real: np.ndarray) -> dict[str, float]:
    """Coverage, exact W1, and how far the radius and the angle are from those of the data.

    - `reverse_kl`: KL(model || data) over the nearest modes;
    - `radial_w1`: W1 of the distances from the centre, in units of length;
    - `angular_kl`: KL(model || data) of the angle in eight sectors about the modes, in nats.
    """
    coverage = mode_coverage(samples, RING.centers, RING.std)
    uniform = jnp.full(len(RING.centers), 1 / len(RING.centers), jnp.float32)
    distance = np.linalg.norm(samples[:, None] - RING.centers, axis=-1)
    good = distance.min(1) < 3 * RING.std
    nearest = distance.argmin(1)
    sectors = np.round(np.arctan2(samples[:, 1], samples[:, 0]) / (np.pi / 4)).astype(int) % 8
    radius = [jnp.asarray(np.linalg.norm(x, axis=1), jnp.float32) for x in (samples, real)]
    return {
        "modes": coverage.found,
        "high_quality": coverage.high_quality,
        "reverse_kl": distances.kl(
            _shares(nearest[good] if good.any() else nearest), uniform
        ).item(),
        "w1": distances.exact_w1(samples[:_POINTS], real[:_POINTS]),
        "radial_w1": distances.w1_sorted(*radius).item(),
        "angular_kl": distances.kl(_shares(sectors), uniform).item(),
    }


def _shares(which: np.ndarray) -> jax.Array:
    return jnp.asarray(np.bincount(which, minlength=8) / len(which), jnp.float32)


def ring_first(run: dict[str, list[float]]) -> bool:
    """The radius comes within a tenth of its first error no later than the angle does."""

    def arrival(values: list[float]) -> int:
        x = np.array(values)
        near = np.flatnonzero(x <= 0.1 * x[0] + _EPS)
        return int(near[0]) if len(near) else len(x)

    return arrival(run["radial_w1"]) <= arrival(run["angular_kl"])


def _statistics(runs: list[dict[str, list[float]]]) -> dict[str, Any]:
    return {
        name: {
            "mean": np.mean([run[name] for run in runs], axis=0).tolist(),
            "std": np.std([run[name] for run in runs], axis=0).tolist(),
        }
        for name in runs[0]
    } | {"ring_before_density": float(np.mean([ring_first(run) for run in runs]))}


def _last(runs: list[dict[str, list[float]]], name: str) -> np.ndarray:
    return np.array([run[name][-1] for run in runs])


def _summary(runs: list[dict[str, list[float]]]) -> str:
    modes, quality, w1 = (_last(runs, name) for name in ("modes", "high_quality", "w1"))
    return (
        f"modes {modes.mean():.1f} ± {modes.std():.1f}  within 3 std {quality.mean():.1%} ± "
        f"{quality.std():.1%}  W1 {w1.mean():.3f} ± {w1.std():.3f}"
    )


def claims(measured: dict[str, Any]) -> list[Claim]:
    modes = {name: _last(runs, "modes") for name, runs in measured.items()}
    w1 = {name: _last(runs, "w1") for name, runs in measured.items()}
    first = np.mean([ring_first(run) for run in measured["WGAN"]])
    later = max(
        (_last(measured[name], "w1").max(), name) for name in ("WGAN", "WGAN-GP", "WGAN-LP")
    )
    return [
        Claim(
            "WGAN finds all 8 modes in every seed",
            bool((modes["WGAN"] == 8).all()),
            f"{int((modes['WGAN'] == 8).sum())} of {len(modes['WGAN'])} seeds",
        ),
        Claim(
            "the GAN loses modes",
            bool(modes["GAN"].mean() < 8),
            f"{modes['GAN'].mean():.1f} modes on average, {modes['GAN'].min()} at least",
        ),
        Claim(
            "WGAN, with clipping or a penalty, ends nearer to the data than the GAN in W1",
            bool(later[0] < w1["GAN"].mean()),
            f"largest W1 over seeds {later[0]:.3f} ({later[1]}); GAN {w1['GAN'].mean():.3f} on "
            f"average",
        ),
        Claim(
            "WGAN finds the ring before the density on it",
            bool(first > 0.5),
            f"in {first:.0%} of the seeds the radius settles no later than the angle",
        ),
    ]


def draw(strips: dict[str, np.ndarray], steps: np.ndarray, numbers: dict[str, Any]) -> Any:
    plt = pyplot()
    shown = np.unique(np.linspace(0, len(steps) - 1, 6).round().astype(int))
    rows, columns = len(METHODS), len(shown) + 1
    figure = plt.figure(figsize=(1.75 * columns + 1, 1.75 * rows + 3.6), layout="constrained")
    above, below = figure.subfigures(2, 1, height_ratios=[1.75 * rows, 3.6])
    real = np.asarray(RING(jax.random.key(1), 2_500))
    for cells, name in zip(above.subplots(rows, columns), METHODS, strict=True):
        for ax, points in zip(cells, [*strips[name][shown], real], strict=True):
            density(ax, points)
        cells[0].set_ylabel(name, fontsize=9)
    for ax, step in zip(above.axes, [*steps[shown], None], strict=False):
        ax.set_title("data" if step is None else f"{step:,}", fontsize=9)
    panels = below.subplots(1, 3)
    for ax, key, label in zip(
        panels,
        ("w1", "radial_w1", "angular_kl"),
        ("exact $W_1$", "radius: $W_1$", "angle: KL, nats"),
        strict=True,
    ):
        for name, color in zip(METHODS, COLORS, strict=True):
            values = np.maximum(numbers["methods"][name][key]["mean"], 1e-4)
            ax.plot(steps, values, color=color, label=name)
        ax.set(yscale="log", xlabel="generator iterations", title=label)
        ax.grid(alpha=0.3)
    panels[0].axhline(numbers["w1_floor"], color="grey", linestyle="--", linewidth=0.8)
    handles, names = panels[0].get_legend_handles_labels()
    below.legend(handles, names, loc="outside lower center", ncols=5)
    figure.suptitle(
        f"8 Gaussians: densities of seed 0 by generator iterations; means of {numbers['seeds']} "
        "seeds below\n(dashed: the floor, data against data)"
    )
    return figure


def density(ax: Any, points: np.ndarray) -> None:
    """Points of the plane as a picture of their density."""
    image, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=96, range=[[-3, 3], [-3, 3]])
    ax.imshow(np.sqrt(image.T), origin="lower", extent=(-3, 3, -3, 3), cmap="magma")
    ax.set(xticks=[], yticks=[])
