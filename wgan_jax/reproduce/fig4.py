"""The GAN's bound on Jensen-Shannon next to the quality of its samples.

The paper's discriminator wins, and its bound stays near log 2. On digits of 8 x 8 pixels, with
a step of each player in turn, it hardly ever wins but at too high a learning rate: the
bound comes near 0 for good samples and bad ones. At size `real` it has five steps in turn.
"""

from __future__ import annotations

import math

import numpy as np

from wgan_jax.reproduce import curves
from wgan_jax.reproduce.figure import Claim, Result, Settings


def run(settings: Settings) -> Result:
    found = curves.curves("GAN", "critic/estimate", settings)
    good = [c for name in ("MLP generator", "DCGAN generator") for c in found.runs[name]]
    most = max(c.correlation for c in good)
    late = [float(c.metric[-1]) for c in good]
    claims = [
        Claim(
            "the bound on Jensen-Shannon does not follow the samples: its rank correlation with "
            f"{found.measures.quality} on held-out data stays below 0.5",
            most < 0.5,
            f"largest correlation {most:+.2f} over {len(good)} runs",
        ),
        Claim(
            "it stays near its largest value, log 2 = 0.69, whatever the samples look like",
            min(late) > 0.5 * math.log(2),
            f"at the end {np.mean(late):.2f} on average, {min(late):.2f} at least",
        ),
    ]
    title = "GAN: the bound on Jensen-Shannon (median over 101 iterations), and the samples"
    picture = curves.draw(found, "bound on JS, nats", title, "#d1495b")
    return Result(picture, curves.numbers(found), claims, curves.table(found), found.earlier)
