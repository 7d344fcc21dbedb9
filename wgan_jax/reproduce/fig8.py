"""The cost of a GAN's generator beside the quality of its samples, on digits."""

from __future__ import annotations

import numpy as np

from wgan_jax.reproduce import curves
from wgan_jax.reproduce.figure import Claim, Result, Settings


def run(settings: Settings) -> Result:
    names = ("MLP generator", "DCGAN generator")
    found = curves.curves("GAN", names, "generator/loss", settings)
    runs = [c for name in names for c in found[name]]
    most = max(c.correlation for c in runs)
    rising = np.mean([c.metric[-1] > c.metric[0] for c in runs])
    claims = [
        Claim(
            "the generator's cost rises while its samples improve",
            bool(rising == 1 and all(c.w1[-1] < c.w1[0] for c in runs)),
            f"it ends higher than it began in {rising:.0%} of {len(runs)} runs",
        ),
        Claim(
            "its rank correlation with W1 on held-out data is negative",
            most < 0,
            f"largest correlation {most:+.2f}",
        ),
    ]
    title = "GAN: the generator's cost, -log D, says nothing good about the samples"
    picture = curves.draw(found, "generator's cost, nats", title, "#e76f51")
    return Result(picture, {"w1_floor": curves.floor(), "runs": curves.numbers(found)}, claims)
