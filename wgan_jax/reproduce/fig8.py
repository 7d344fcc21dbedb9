"""The cost of a GAN's generator next to the quality of its samples."""

from __future__ import annotations

import numpy as np

from wgan_jax.reproduce import curves
from wgan_jax.reproduce.figure import Claim, Result, Settings


def run(settings: Settings) -> Result:
    result = curves.curves("GAN", "generator/loss", settings)
    runs = [c for name in ("MLP generator", "DCGAN generator") for c in result.runs[name]]
    bad = result.runs["MLPs, learning rate too high"]
    largest = max(c.correlation for c in runs)
    rising = np.mean([c.metric[-1] > c.metric[0] for c in runs])
    better = np.mean([c.quality[-1] < c.quality[0] for c in runs])
    claims = [
        Claim(
            "the generator's cost rises while its samples improve",
            bool(rising == 1 and better == 1),
            f"it ends higher than it began in {rising:.0%} of {len(runs)} runs, and samples end "
            f"better in {better:.0%}",
        ),
        Claim(
            f"its rank correlation with {result.measures.quality} on held-out data is negative",
            largest < 0,
            f"largest correlation {largest:+.2f}",
        ),
        Claim(
            "with MLPs and too high a learning rate, it does not track sample quality either: rank "
            "correlation below 0.5",
            max(c.correlation for c in bad) < 0.5,
            f"largest correlation {max(c.correlation for c in bad):+.2f}",
        ),
    ]
    title = "GAN: the generator's cost, -log D, and the samples"
    picture = curves.draw(result, "generator's cost, nats", title, "#e76f51")
    return Result(picture, curves.numbers(result), claims, curves.table(result), result.earlier)
