"""Parallel lines: of four distances, only W1 shows how far apart they are.

P0 is the distribution of (0, Z), P_theta that of (theta, Z), with Z uniform on [0, 1].
"""

from __future__ import annotations

import math
from typing import Any

import jax.numpy as jnp
import numpy as np

from wgan_jax import distances
from wgan_jax.reproduce.figure import Claim, Result, Settings, pyplot

_POINTS, _CELLS = 200, 401


def run(settings: Settings) -> Result:
    thetas = np.linspace(-1, 1, settings.by_size(5, 41)).round(6)
    rows = [measure(float(theta)) for theta in thetas]
    numbers = {"theta": thetas.tolist(), **{k: [row[k] for row in rows] for k in rows[0]}}
    return Result(draw(thetas, numbers), numbers, claims(thetas, numbers))


def measure(theta: float) -> dict[str, float]:
    """Return W1 by exact transport between points of both lines, the others on a grid of cells."""
    z = (np.arange(_POINTS) + 0.5) / _POINTS
    base, shifted = (np.stack([np.full_like(z, x), z], 1) for x in (0.0, theta))
    p, q = (jnp.asarray(histogram(points)) for points in (base, shifted))
    return {
        "w1": distances.exact_w1(base, shifted),
        "js": distances.js(p, q).item(),
        "kl": distances.kl(p, q).item(),
        "tv": distances.total_variation(p, q).item(),
    }


def histogram(points: np.ndarray) -> np.ndarray:
    """Return the masses of cells of [-1, 1] x [0, 1], narrower than the steps of theta; flat."""
    edges = [np.linspace(-1.0025, 1.0025, _CELLS + 1), np.linspace(0, 1, 11)]
    counts, _, _ = np.histogram2d(points[:, 0], points[:, 1], bins=edges)
    return (counts / len(points)).ravel().astype(np.float32)


def claims(thetas: np.ndarray, numbers: dict[str, Any]) -> list[Claim]:
    w1, js, kl, tv = (np.array(numbers[name]) for name in ("w1", "js", "kl", "tv"))
    nonzero, worst = thetas != 0, float(np.abs(w1 - np.abs(thetas)).max())
    js_error = float(np.abs(js[nonzero] - math.log(2)).max())
    return [
        Claim("W1 = |theta|", worst < 1e-6, f"largest difference {worst:.1e}"),
        Claim(
            "JS = log 2 wherever theta is not 0, and 0 there",
            js_error < 1e-6 and float(np.abs(js[~nonzero]).max(initial=0)) < 1e-6,
            f"largest difference from log 2 {js_error:.1e}",
        ),
        Claim(
            "KL is infinite and total variation 1 wherever theta is not 0",
            bool(np.isinf(kl[nonzero]).all() and (tv[nonzero] == 1).all()),
            f"{int(np.isinf(kl[nonzero]).sum())} of {int(nonzero.sum())} values of KL are infinite",
        ),
    ]


def draw(thetas: np.ndarray, numbers: dict[str, Any]) -> Any:
    plt = pyplot()
    figure, panels = plt.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained", sharex=True)
    for ax, name, label, color in (
        (panels[0], "w1", "$W_1$", "#2a9d8f"),
        (panels[1], "js", "Jensen-Shannon", "#d1495b"),
        (panels[1], "tv", "total variation", "#8d99ae"),
    ):
        ax.plot(thetas, numbers[name], "o-", color=color, label=label, markersize=3)
    panels[1].plot([], [], " ", label=r"KL: $\infty$ unless $\theta = 0$")
    panels[1].axhline(math.log(2), color="black", linewidth=0.6, linestyle=":", label="log 2")
    panels[0].set(ylabel="distance", title="$W_1$ shows which way, and how far")
    panels[1].set(ylabel="distance (JS in nats)", title="the others jump: no gradient to follow")
    for ax in panels:
        ax.set(xlabel=r"$\theta$, the distance between the lines")
        ax.grid(alpha=0.3)
        ax.legend()
    figure.suptitle("Two parallel lines, computed on points and on a grid of cells")
    return figure
