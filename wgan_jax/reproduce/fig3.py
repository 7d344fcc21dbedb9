"""The WGAN's estimate of W1 next to the quality of its samples, on digits."""

from __future__ import annotations

import numpy as np

from wgan_jax.reproduce import curves
from wgan_jax.reproduce.figure import Claim, Result, Settings


def run(settings: Settings) -> Result:
    found = curves.curves("WGAN", list(curves.SETTINGS), "critic/estimate", settings)
    good = [c for name in ("MLP generator", "DCGAN generator") for c in found[name]]
    bad = found["MLPs, learning rate too high"]
    least = min(c.correlation for c in good)
    worst = max(c.sliced[-1] for c in good)
    floors = curves.floors()
    claims = [
        Claim(
            "the estimate falls as samples improve: its rank correlation with sliced W1 on "
            "held-out data is at least 0.8 for MLP and DCGAN generators",
            least >= 0.8,
            f"smallest correlation {least:+.2f} over {len(good)} runs",
        ),
        Claim(
            "with MLPs and too high a learning rate the samples stay bad",
            min(c.sliced[-1] for c in bad) > worst,
            f"sliced W1 at the end {np.mean([c.sliced[-1] for c in bad]):.3f} on average, against "
            f"{worst:.3f} at worst otherwise; data against data {floors['sliced_w1']:.3f}",
        ),
    ]
    title = "WGAN: the critic's estimate (median over 101 iterations) follows the samples"
    picture = curves.draw(found, "critic's estimate", title, "#2a9d8f")
    record = {"floors": floors, "runs": curves.numbers(found)}
    return Result(picture, record, claims, curves.table(found))
