"""Plots of samples and curves of a run."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

REAL, FAKE = "#2a9d8f", "#d1495b"
_MEDIAN_WINDOW = 101
_GRID_PIXELS, _MILLISECONDS, _MAX_PANELS = 512, 80, 16


def image_grid(images: np.ndarray, file: BinaryIO, columns: int | None = None) -> None:
    """Draws images [n, h, w, channels] in [-1, 1] as a grid, square by default."""
    grid_picture(images, columns).save(file, format="PNG")


def animation(frames: list[np.ndarray], file: BinaryIO, *, form: str) -> None:
    """Writes frames of images [n, h, w, channels] as a looping animation of grids."""
    first, *rest = [grid_picture(frame) for frame in frames]
    kind = {".gif": "GIF", ".apng": "PNG"}[form]
    first.save(file, kind, save_all=True, append_images=rest, duration=_MILLISECONDS, loop=0)


def to_pixels(images: np.ndarray) -> np.ndarray:
    """Converts values in [-1, 1] to uint8."""
    return np.round((np.clip(images, -1, 1) + 1) * 127.5).astype(np.uint8)


def picture_of(pixels: np.ndarray) -> Image.Image:
    """Converts uint8 [h, w, channels] to a gray or color image."""
    return Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)


def grid_picture(images: np.ndarray, columns: int | None = None) -> Image.Image:
    n, h, w, channels = images.shape
    columns = columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    pixels = to_pixels(images)
    grid = np.zeros((rows * columns, h + 2, w + 2, channels), np.uint8)
    grid[:n, 1:-1, 1:-1] = pixels
    grid = grid.reshape(rows, columns, h + 2, w + 2, channels).transpose(0, 2, 1, 3, 4)
    grid = grid.reshape(rows * (h + 2), columns * (w + 2), channels)
    picture = picture_of(grid)
    scale = max(1, round(_GRID_PIXELS / max(picture.size)))
    size = (picture.width * scale, picture.height * scale)
    return picture.resize(size, Image.Resampling.NEAREST)


def beside_neighbors(samples: np.ndarray, neighbors: np.ndarray, file: BinaryIO) -> None:
    """Draws framed samples [n, h, w, channels], each next to its neighbors [n, k, ...], as uint8.

    The first half of the samples is on the left, the second half on the right.
    """
    n, k, _, side, channels = neighbors.shape
    rows, scale = -(-n // 2), max(1, round(_GRID_PIXELS / (2 * (k + 1) * (side + 4))))
    images = np.concatenate([samples[:, None], neighbors], 1)
    images = np.repeat(images, 3, -1) if channels == 1 else images
    images = images.repeat(scale, 2).repeat(scale, 3)
    height, width = (length + 4 * scale for length in images.shape[2:4])
    canvas = np.full((rows * height, 2 * (k + 1) * width + 4 * scale, 3), 255, np.uint8)
    for i, group in enumerate(images):
        half, row = divmod(i, rows)
        for column, image in enumerate(group):
            left = half * ((k + 1) * width + 4 * scale) + column * width
            cell = canvas[row * height :, left:][:height, :width]
            if column == 0:
                cell[scale:-scale, scale:-scale] = tuple(bytes.fromhex(FAKE[1:]))
            cell[2 * scale : -2 * scale, 2 * scale : -2 * scale] = image
    picture_of(canvas).save(file, format="PNG")


def plane(
    real: np.ndarray, fake: np.ndarray, critic: Callable | None, step: int, file: BinaryIO
) -> None:
    """Draws real and generated points [n, 2] over the level sets of a critic [m, 2] -> [m]."""
    plt = pyplot()
    limit = 1.25 * float(np.abs(real).max()) or 1.0
    figure, axes = plt.subplots(figsize=(6.4, 5.8), layout="constrained")
    if critic is not None:
        _level_sets(figure, axes, critic, limit)
    data = axes.scatter(*real.T, s=22, c=REAL, alpha=0.3, linewidths=0)
    dots = axes.scatter(*fake.T, s=7, c=FAKE, alpha=0.7, linewidths=0)
    axes.set(xlim=(-limit, limit), ylim=(-limit, limit), aspect="equal", xlabel="$x_1$")
    axes.set(ylabel="$x_2$", title=f"Samples and data after {step:,} generator iterations")
    labels = [f"{len(real):,} data points", f"{len(fake):,} samples"]
    legend = figure.legend([data, dots], labels, loc="outside lower center", ncols=2, frameon=False)
    for handle in legend.legend_handles:
        handle.set(alpha=1.0, sizes=[40])
    save(figure, file, dpi=120)


def _level_sets(figure: Any, axes: Any, critic: Callable, limit: float) -> None:
    """Draws the critic's score in light shades, so that points stand out."""
    from matplotlib.colors import LinearSegmentedColormap

    line = np.linspace(-limit, limit, 121, dtype=np.float32)
    mesh = np.stack(np.meshgrid(line, line), -1)
    scores = np.asarray(critic(mesh.reshape(-1, 2))).reshape(mesh.shape[:2])
    shades = LinearSegmentedColormap.from_list("shades", ("white", "#b9c4d4"))
    levels = axes.contourf(line, line, scores, levels=14, cmap=shades)
    axes.contour(
        line, line, scores, levels=levels.levels, colors="white", linewidths=0.7, linestyles="solid"
    )
    figure.colorbar(levels, ax=axes, label="critic score", ticks=levels.levels[::3], shrink=0.9)


def points(samples: np.ndarray, file: BinaryIO) -> None:
    """Draws generated points [n, 2]."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(5.6, 5.6), layout="constrained")
    axes.scatter(*samples.T, s=7, c=FAKE, alpha=0.7, linewidths=0)
    axes.grid(alpha=0.3)
    axes.set(aspect="equal", xlabel="$x_1$", ylabel="$x_2$", title=f"{len(samples):,} samples")
    save(figure, file, dpi=120)


def marginals(
    real: dict[str, np.ndarray], fake: dict[str, np.ndarray], step: int, file: BinaryIO
) -> None:
    """Draws the distributions of data and samples for each of the first 16 columns."""
    plt = pyplot()
    names = list(real)[:_MAX_PANELS]
    columns = min(4, len(names))
    rows = math.ceil(len(names) / columns)
    figure, grid = plt.subplots(
        rows,
        columns,
        figsize=(3.2 * columns, 2.4 * rows + 0.6),
        layout="constrained",
        squeeze=False,
    )
    for ax, name in zip(grid.flat, names, strict=False):
        _marginal(ax, real[name], fake[name])
        ax.set_title(name if len(name) < 30 else f"{name[:28]}...", fontsize="medium")
        ax.set_yticks([])
    for ax in grid.flat[len(names) :]:
        ax.set_axis_off()
    first, more = grid.flat[0], len(real) - len(names)
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    rest = f" (the first {len(names)} of {len(real)} columns)" if more else ""
    figure.suptitle(f"Columns of samples and data after {step:,} generator iterations{rest}")
    save(figure, file, dpi=90)


def _marginal(ax: Any, real: np.ndarray, fake: np.ndarray) -> None:
    """Draws both sets of values: bars for a category, stepped histograms for numbers."""
    sets = ((real, REAL, "data"), (fake, FAKE, "samples"))
    if real.dtype.kind in "USOb":
        names = np.unique(np.concatenate([real, fake]).astype(str))[:_MAX_PANELS]
        for side, (values, color, label) in zip((-0.2, 0.2), sets, strict=True):
            shares = [float((values.astype(str) == name).mean()) for name in names]
            ax.bar(np.arange(len(names)) + side, shares, 0.4, color=color, label=label)
        ax.set_xticks(range(len(names)), [name[:8] for name in names], fontsize="small")
        return
    # Central quantiles, so that one outlier does not squeeze all other values into one bar.
    low, high = np.quantile(real.astype(float), (0.005, 0.995))
    margin = 0.1 * (high - low) or 0.5
    edges = np.linspace(low - margin, high + margin, 41)
    for values, color, label in sets:
        inside = np.clip(values.astype(float), edges[0], edges[-1])
        ax.hist(inside, edges, density=True, histtype="step", color=color, label=label)


def curves(lines: list[dict[str, Any]], estimates: str, file: BinaryIO) -> None:
    """Draws the metrics over generator iterations; `estimates` describes the critic's estimate."""
    plt = pyplot()
    evaluations = [line for line in lines if "w1/minibatch" in line]
    rows, columns, size = (2, 2, (12, 7.2)) if evaluations else (1, 3, (15, 4))
    figure, axes = plt.subplots(rows, columns, figsize=size, sharex=True, layout="constrained")
    estimate, losses, norms = axes.flat[:3]
    _panel(estimate, lines, {"critic/estimate": ""})
    estimate.set(title="The critic's estimate", ylabel="estimate")
    estimate.text(
        0.98, 0.96, textwrap.fill(estimates, 48), transform=estimate.transAxes, ha="right", va="top"
    )
    _panel(losses, lines, {"critic/loss": "critic", "generator/loss": "generator"})
    losses.set(title="Losses", ylabel="loss of each player")
    _panel(norms, lines, {f"{who}/gradient_norm": who for who in ("critic", "generator")})
    norms.set(title="Gradient norms", ylabel="L2 norm", yscale="log")
    if evaluations:
        _w1_panel(axes.flat[3], evaluations)
    for ax in axes.flat[-columns:]:
        ax.set_xlabel("generator iterations")
        ax.xaxis.set_major_formatter("{x:,.0f}")
    figure.suptitle("Faint: as logged. Strong: running median.", fontsize="medium", color="grey")
    save(figure, file, dpi=110)


def _panel(ax: Any, lines: list[dict[str, Any]], names: dict[str, str]) -> None:
    steps = np.array([line["step"] for line in lines])
    for (name, label), color in zip(names.items(), (FAKE, REAL), strict=False):
        values = np.array([line.get(name, np.nan) for line in lines], float)
        ax.plot(steps, values, color=color, alpha=0.3, linewidth=0.8)
        ax.plot(steps, running_median(values), color=color, label=label)
    ax.grid(alpha=0.3)
    if any(names.values()):
        ax.legend(frameon=False)


def _w1_panel(ax: Any, evaluations: list[dict[str, Any]]) -> None:
    bounds = ("w1/lower", "w1/upper")
    certified = [line for line in evaluations if {"w1/value", *bounds} <= line.keys()]
    if certified:
        steps, *ends = ([line[name] for line in certified] for name in ("step", *bounds))
        ax.fill_between(steps, *ends, color=FAKE, alpha=0.2, linewidth=0, label="bounds, 95%")
        names = {"w1/value": ("estimate", FAKE, "o-")}
        title = "W1 between samples and held-out data"
    else:
        names = {
            "w1/minibatch": ("exact, samples against data", FAKE, "o-"),
            "w1/minibatch_floor": ("exact, data against data: the noise floor", "grey", "--"),
        }
        title = "W1 of minibatches, on held-out data if available"
    for name, (label, color, style) in names.items():
        curve = [(line["step"], line[name]) for line in evaluations if name in line]
        if curve:
            ax.plot(*zip(*curve, strict=True), style, color=color, label=label, markersize=3)
    ax.set(title=title, ylabel="W1 in units of the data")
    ax.set_ylim(bottom=-0.02 * ax.get_ylim()[1])
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)


def running_median(values: np.ndarray) -> np.ndarray:
    """Applies the paper's median filter, with a shorter window at the ends and for short runs."""
    window = min(_MEDIAN_WINDOW, max(1, len(values) // 10)) // 2
    return np.array(
        [np.median(values[max(0, i - window) : i + window + 1]) for i in range(len(values))]
    )


def intervals(
    names: list[str],
    bounds: list[tuple[float, float, float]],
    title: str,
    note: str,
    file: BinaryIO,
) -> None:
    """Draws a row per name with its lower bound, value and upper bound, best on top."""
    plt = pyplot()
    order = sorted(range(len(names)), key=lambda i: bounds[i][1], reverse=True)
    figure, axes = plt.subplots(figsize=(7, 1.4 + 0.4 * len(names)), layout="constrained")
    for row, i in enumerate(order):
        low, value, high = bounds[i]
        axes.plot([low, high], [row, row], color=REAL, linewidth=5, alpha=0.45)
        axes.plot(value, row, "o", color=REAL, markersize=7)
    axes.set_yticks(range(len(order)), [_escape(names[i]) for i in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlim(left=0)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    axes.set_title(_escape(title), loc="left", fontsize=11)
    axes.set_xlabel(textwrap.fill(f"W1: from lower to upper bound; {note}", 90), fontsize=9)
    save(figure, file, dpi=120)


def _escape(text: str) -> str:
    """Escapes text so that Matplotlib does not parse it as a formula."""
    return text.replace("$", r"\$")


def save(figure: Any, file: BinaryIO, dpi: int) -> None:
    figure.savefig(file, dpi=dpi, format="png")
    pyplot().close(figure)


def pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
