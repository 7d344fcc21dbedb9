"""Mode coverage of every method on two mixtures, under PacGAN's protocol.

Each run draws 2,500 samples; a mode counts as found, and a sample as good, within three
standard deviations. All methods train for the same few iterations, after which none has
settled. The last row is WGAN-GP on a longer schedule, with a deeper generator
whose weights are averaged.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from wgan_jax.data.toy import Grid, Ring
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.config_io import config_hash
from wgan_jax.metrics import Coverage, mode_coverage
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
from wgan_jax.reproduce.methods import best_toy_method, toy_methods
from wgan_jax.reproduce.runs import train_seeds

RING, GRID = Ring(radius=1.0, std=0.01), Grid()
MIXTURES: dict[str, Ring | Grid] = {"ring of 8": RING, "grid of 25": GRID}
GOALS = {"ring of 8": 0.97, "grid of 25": 0.95}
BEST = "best, longer"
_LONGER = {"ring of 8": 12_000, "grid of 25": 16_000}
_SAMPLES = 2_500

# Modes found, share of good samples, and where they were published. For Unrolled GAN that is
# not the paper of the method.
_PACGAN, _VEEGAN = "Lin et al., PacGAN, 2017", "Srivastava et al., VEEGAN, 2017"
PUBLISHED = {
    "ring of 8": {
        "GAN": (6.3, 0.982, _PACGAN),
        "PacGAN2": (7.9, 0.956, _PACGAN),
        "Unrolled GAN": (7.6, 0.356, _VEEGAN),
    },
    "grid of 25": {
        "GAN": (17.3, 0.948, _PACGAN),
        "PacGAN4": (24.8, 0.936, _PACGAN),
        "Unrolled GAN": (23.6, 0.16, _VEEGAN),
    },
}


def run(settings: Settings) -> Result:
    seeds = range(settings.seeds or settings.by_size(2, 10))
    steps = settings.by_size(20, 1_200, 20_000)
    configs = {
        mixture: toy_methods(steps, dataset)
        | {BEST: best_toy_method(settings.by_size(20, _LONGER[mixture], 20_000), dataset)}
        for mixture, dataset in MIXTURES.items()
    }
    cache = ResultCache(settings.cache_path, {"size": settings.size, "seeds": len(seeds)})

    def row(mixture: str, name: str, config: str) -> dict[str, Any]:
        start = time.perf_counter()
        method = configs[mixture][name]
        result = statistics(coverages(method, seeds, MIXTURES[mixture]))
        return result | {"steps": method.steps, "seconds": round(time.perf_counter() - start, 1)}

    boards: dict[str, Any] = {mixture: {} for mixture in MIXTURES}
    for mixture in MIXTURES:
        for name, config in configs[mixture].items():
            entry = {"mixture": mixture, "name": name, "config": config_hash(config)}
            boards[mixture][name] = cache(entry, row)
            print(f"{mixture:11} {name:15} {_line(boards[mixture][name])}", flush=True)
    numbers = {"seeds": len(seeds), "samples": _SAMPLES, "boards": boards, "published": PUBLISHED}
    picture = draw(boards, len(seeds))
    return Result(picture, numbers, claims(boards), table(boards), cache.earlier)


def coverages(config: Config, seeds: range, dataset: Ring | Grid) -> list[Coverage]:
    runs = train_seeds(config, seeds, snapshots=1, samples=_SAMPLES)
    return [mode_coverage(run.samples[-1], dataset.centers, dataset.std) for run in runs]


def statistics(runs: list[Coverage]) -> dict[str, Any]:
    modes, good = ([c[i] for c in runs] for i in (0, 2))
    return {
        "modes": modes,
        "high_quality": good,
        "modes_mean": float(np.mean(modes)),
        "modes_std": float(np.std(modes)),
        "high_quality_mean": float(np.mean(good)),
        "high_quality_std": float(np.std(good)),
        "all_modes": runs[0].modes,
    }


def table(boards: dict[str, Any]) -> Table:
    """Return our rows with mean and standard deviation over seeds, and published means as is."""
    rows = []
    for mixture, board in boards.items():
        for name, row in board.items():
            modes, good = row["modes"], row["high_quality"]
            ours = [mean_std(modes, ".1f"), mean_std(good, ".1%"), f"{min(good):.1%}"]
            rows.append([mixture, name, *ours, f"{row['steps']:,} iterations"])
        for name, (mean, share, source) in PUBLISHED[mixture].items():
            rows.append([mixture, name, f"{mean}", f"{share:.1%}", "", f"published: {source}"])
    return Table(["mixture", "method", "modes", "good samples", "worst seed", ""], rows)


def claims(boards: dict[str, Any]) -> list[Claim]:
    results = []
    for mixture, goal in GOALS.items():
        row = boards[mixture][BEST]
        fewest, worst = min(row["modes"]), min(row["high_quality"])
        results.append(
            Claim(
                f"{mixture}: the best method finds all modes with at least {goal:.0%} good "
                "samples in every seed",
                fewest == row["all_modes"] and worst >= goal,
                f"at least {fewest} modes and {worst:.1%} over {seeds_in_words(len(row['modes']))}",
            )
        )
    return results


def _line(row: dict[str, Any]) -> str:
    return (
        f"modes {row['modes_mean']:4.1f} ± {row['modes_std']:.1f} of {row['all_modes']}  good "
        f"{row['high_quality_mean']:5.1%} ± {row['high_quality_std']:.1%}, at least "
        f"{min(row['high_quality']):.1%}  {row['steps']:,} iterations, {row['seconds']:.0f} s"
    )


def draw(boards: dict[str, Any], seeds: int) -> Any:
    plt = pyplot()
    count = max(map(len, boards.values())) + max(map(len, PUBLISHED.values()))
    figure, panels = plt.subplots(1, 2, figsize=(11, 0.36 * count + 1.6), layout="constrained")
    for ax, (mixture, board) in zip(panels, boards.items(), strict=True):
        labels = []
        for y, (name, row) in enumerate(board.items()):
            complete = np.array(row["modes"]) == row["all_modes"]
            good = np.array(row["high_quality"])
            ax.plot(good[complete], np.full(complete.sum(), y), "o", color="#2a9d8f", alpha=0.6)
            ax.plot(good[~complete], np.full((~complete).sum(), y), "x", color="#d1495b")
            labels.append(f"{name}  {row['modes_mean']:.1f}")
        for y, (name, (modes, share, _)) in enumerate(PUBLISHED[mixture].items(), len(board)):
            ax.plot(share, y, "D", color="grey", markersize=5)
            labels.append(f"{name}, published  {modes:.1f}")
        ax.axvline(GOALS[mixture], color="black", linewidth=0.8, linestyle=":")
        ax.set_yticks(range(len(labels)), labels, fontsize=8)
        ax.invert_yaxis()
        ax.set(xlim=(-0.02, 1.02), xlabel="share of samples within 3 std of a mode")
        ax.set_title(f"{mixture}: method, mean modes found", fontsize=10)
        ax.grid(axis="x", alpha=0.3)
    figure.suptitle(
        f"Mode coverage, {seeds_in_words(seeds)} (dots: all modes found; crosses: some lost)\n"
        "(diamonds: published means; dotted line: goal of the best method)",
        fontsize=10,
    )
    return figure
