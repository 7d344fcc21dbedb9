"""The GAN's bound on Jensen-Shannon next to the quality of its samples.

The paper's discriminator wins, and its bound stays near log 2. On digits of 8 x 8 pixels, with
one step per player in turn, it hardly ever wins except at too high a learning rate: the
bound comes close to 0 for good and bad samples alike. At size `real` it takes five steps per turn.
"""

from __future__ import annotations

import math

import numpy as np

from wgan_jax.reproduce import curves
from wgan_jax.reproduce.figure import Claim, Result, Settings


def run(settings: Settings) -> Result:
    result = curves.curves("GAN", "critic/estimate", settings)
    good = [c for name in ("MLP generator", "DCGAN generator") for c in result.runs[name]]
    largest = max(c.correlation for c in good)
    final = [float(c.metric[-1]) for c in good]
    claims = [
        Claim(
            "the bound on Jensen-Shannon does not track sample quality: its rank correlation with "
            f"{result.measures.quality} on held-out data stays below 0.5",
            largest < 0.5,
            f"largest correlation {largest:+.2f} over {len(good)} runs",
        ),
        Claim(
            "it stays near its maximum, log 2 = 0.69, whatever the samples look like",
            min(final) > 0.5 * math.log(2),
            f"final value {np.mean(final):.2f} on average, at least {min(final):.2f}",
        ),
    ]
    title = "GAN: the bound on Jensen-Shannon (median over 101 iterations), and the samples"
    picture = curves.draw(result, "bound on JS, nats", title, "#d1495b")
    return Result(picture, curves.numbers(result), claims, curves.table(result), result.earlier)
