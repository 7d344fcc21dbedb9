"""The WGAN's estimate of W1 next to the quality of its samples, on digits or on Fashion-MNIST."""

from __future__ import annotations

import numpy as np

from wgan_jax.reproduce import curves
from wgan_jax.reproduce.figure import Claim, Result, Settings


def run(settings: Settings) -> Result:
    result = curves.curves("WGAN", "critic/estimate", settings)
    quality, form = result.measures.quality, result.measures.form
    good = [c for name in ("MLP generator", "DCGAN generator") for c in result.runs[name]]
    bad = result.runs["MLPs, learning rate too high"]
    least = min(c.correlation for c in good)
    worst = max(c.quality[-1] for c in good)
    ends, floor = [c.quality[-1] for c in bad], result.floors[result.measures.name]
    claims = [
        Claim(
            f"the estimate falls as samples improve: its rank correlation with {quality} on "
            "held-out data is at least 0.8 for MLP and DCGAN generators",
            least >= 0.8,
            f"smallest correlation {least:+.2f} over {len(good)} runs",
        ),
        Claim(
            "with MLPs and too high a learning rate, samples stay poor",
            min(ends) > worst,
            f"final {quality} {np.mean(ends):{form}} on average, against "
            f"{worst:{form}} at worst otherwise; data against data {floor:{form}}",
        ),
    ]
    title = "WGAN: the critic's estimate (median over 101 iterations), and the samples"
    picture = curves.draw(result, "critic's estimate", title, "#2a9d8f")
    return Result(picture, curves.numbers(result), claims, curves.table(result), result.earlier)
