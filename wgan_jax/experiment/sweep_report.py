"""Report of a sweep: a table of its members, their curves and their samples."""

from __future__ import annotations

import itertools
import math
from typing import Any, BinaryIO

import jax
import numpy as np

from wgan_jax.data.dataset import Dataset
from wgan_jax.distances.exact import exact_w1
from wgan_jax.experiment import plots
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.evaluation.samples import (
    draw_sizes,
    examples_of,
    generate,
    kind_of,
    points,
    sample_shape,
    weights_of,
)
from wgan_jax.experiment.evaluation.transport import modes
from wgan_jax.experiment.evaluation.units import in_units
from wgan_jax.experiment.run import draw_columns, reals
from wgan_jax.experiment.sweep import grid, varied_hyperparameters
from wgan_jax.gan import GAN
from wgan_jax.keys import Purpose, derive_key
from wgan_jax.transforms.ema import with_ema
from wgan_jax.types import GANState

_POINTS, _QUICK_POINTS, _REALS, _DRAWN = 1_000, 500, 6, 2_000
SHOWN, _SAMPLES = 16, 16


def rows(
    config: Config, gan: GAN, data: Dataset, states: list[GANState], n: int = _POINTS
) -> list[dict[str, Any]]:
    """Returns the hyperparameters, step and sample quality of each member.

    W1 is exact, between `n` samples and as many data points that all members share; the floor
    is exact W1 between data and other data. All members and the data use separate keys.
    """
    key = derive_key(jax.random.key(config.seed), Purpose.EVALUATION)
    on_real, *on_fakes = jax.random.split(key, 1 + len(states))
    n, count = draw_sizes(data.size, n, _REALS)
    reals = [points(real) for real in data.draws(on_real, n, count)]
    floor = float(np.mean([exact_w1(x, y) for x, y in itertools.pairwise(reals)]))
    table = []
    for k, (state, varied) in enumerate(zip(states, varied_hyperparameters(config), strict=True)):
        fake = points(generate(gan, with_ema(state), on_fakes[k], n))
        w1 = exact_w1(fake, reals[0])
        row = {"member": k, **varied, "step": int(state.step), "points": n}
        row |= {"weights": weights_of(state), "data": kind_of(data)}
        row |= {"w1/exact": w1, "w1/floor": floor}
        if floor > 0:
            row["w1/ratio"] = w1 / floor
        table.append(in_units(row, data.units) | modes(config.dataset, [fake]))
    return table


def evaluation(
    config: Config, gan: GAN, data: Dataset, states: list[GANState]
) -> dict[str, np.ndarray]:
    """Returns the measures of `rows` by name, each [m], on fewer points for speed."""
    measured = rows(config, gan, data, states, _QUICK_POINTS)
    sizes = ("modes/total", "modes/points")
    names = [name for name in measured[0] if "/" in name and name not in sizes]
    return {name: np.array([row[name] for row in measured], float) for name in names}


def curves(lines: list[dict[str, Any]], config: Config, file: BinaryIO) -> None:
    """Draws mean and standard deviation over seeds for each combination of hyperparameters."""
    plt = plots.pyplot()
    steps = [line["step"] for line in lines]
    groups, seeds = grid(config), config.sweep.seeds if config.sweep else 1
    panels = [("critic/estimate", config.objective.estimates), ("generator/loss", "")]
    if any("w1/exact" in line for line in lines):
        panels.append(("w1/exact", "between samples and data; dashed: between data and other data"))
    figure, axes = plt.subplots(
        len(panels), 1, figsize=(8, 3 * len(panels) + 0.5), sharex=True, layout="constrained"
    )
    colors = plt.get_cmap("viridis")(np.linspace(0, 0.9, len(groups)))
    for ax, (name, title) in zip(axes, panels, strict=True):
        for g, (values, color) in enumerate(zip(groups, colors, strict=True)):
            group = slice(g * seeds, (g + 1) * seeds)
            curve = [
                (s, line[name][group]) for s, line in zip(steps, lines, strict=True) if name in line
            ]
            at, each = [s for s, _ in curve], np.array([v for _, v in curve], float)
            label = ", ".join(f"{n} {v:g}" for n, v in values.items()) or f"mean of {seeds} seeds"
            _band(ax, at, each, color, label if name == panels[0][0] else None)
        if name == "w1/exact":
            floors = [(line["step"], line["w1/floor"][0]) for line in lines if "w1/floor" in line]
            ax.plot(*zip(*floors, strict=True), "--", color="grey")
        ax.set(title=f"{name}\n{title}".strip(), ylabel=name)
        ax.grid(alpha=0.3)
    axes[-1].set_xlabel("generator iterations; bands are one standard deviation over seeds")
    figure.legend(loc="outside lower center", ncols=2, fontsize="small")
    plots.save(figure, file, dpi=120)


def samples(
    config: Config, gan: GAN, data: Dataset, states: list[GANState], step: int, file: BinaryIO
) -> None:
    """Draws samples of members side by side: rows of images, or panels of points in the plane.

    For other points, draws the columns of the first member.
    """
    shape = sample_shape(data)
    count = _SAMPLES if len(shape) == 3 else _DRAWN
    drawn = [
        gan.generate(with_ema(state), derive_key(state.key, Purpose.SAMPLES), count)
        for state in states
    ]
    fakes = [examples_of(fake) for fake in drawn]
    if len(shape) == 3:
        plots.image_grid(np.concatenate(fakes), file, columns=_SAMPLES)
        return
    real = points(reals(config, data, count))
    if shape == (2,):
        _panels(real, fakes, varied_hyperparameters(config), step, file)
    else:
        draw_columns(data, real, points(fakes[0]), step, file)


def _panels(
    real: np.ndarray,
    fakes: list[np.ndarray],
    varied: list[dict[str, Any]],
    step: int,
    file: BinaryIO,
) -> None:
    plt = plots.pyplot()
    columns = math.ceil(math.sqrt(len(fakes)))
    shape = (math.ceil(len(fakes) / columns), columns)
    figure, axes = plt.subplots(
        *shape, figsize=(2.6 * columns, 2.8 * shape[0]), squeeze=False, layout="constrained"
    )
    limit = 1.25 * float(np.abs(real).max()) or 1.0
    for k, ax in enumerate(axes.flat):
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xticks=[], yticks=[])
        if k >= len(fakes):
            ax.axis("off")
            continue
        ax.scatter(*real.T, s=12, c=plots.REAL, alpha=0.25, linewidths=0)
        ax.scatter(*fakes[k].T, s=2, c=plots.FAKE, alpha=0.5, linewidths=0)
        values = "\n".join(f"{name} {value:g}" for name, value in varied[k].items())
        ax.set_title(f"member {k}: {values}", fontsize="x-small")
    figure.suptitle(f"Samples (red) over data after {step:,} iterations")
    plots.save(figure, file, dpi=120)


def _band(ax: Any, steps: list[int], each: np.ndarray, color: Any, label: str | None) -> None:
    """Draws mean and standard deviation of values [steps, seeds]; NaN for lost members."""
    has_values = np.isfinite(each).any(1)
    steps, each = np.asarray(steps)[has_values], each[has_values]
    mean, std = np.nanmean(each, 1), np.nanstd(each, 1)
    ax.plot(steps, mean, color=color, label=label)
    ax.fill_between(steps, mean - std, mean + std, color=color, alpha=0.25, linewidth=0)
