"""A picture of an estimate: how its bounds closed in."""

from __future__ import annotations

from typing import Any

import numpy as np

from wgan_jax.estimate.w1 import W1Estimate


def plot_bounds(estimate: W1Estimate) -> Any:
    """Draw the lower bound over the critic's steps, and the upper one over transports.

    Left, what validation samples certify as the critic ascends; right, the margin
    that shrinks as exact transport is averaged. The lines across are the final
    bounds and the value. A critic that was given has no ascent to show.

    Args:
      estimate: from `estimate_w1`.

    Returns:
      A matplotlib `Figure`; `savefig(path)` writes it.

    Example:
      >>> import jax
      >>> from wgan_jax import estimate_w1
      >>> p = lambda key, n: jax.random.normal(key, (n, 2))
      >>> q = lambda key, n: p(key, n) + 1
      >>> w1 = estimate_w1(p, q, key=jax.random.key(0), steps=50, cones=64, held_out=4_096)
      >>> [axes.get_xlabel() for axes in plot_bounds(w1).axes]
      ['critic steps', 'transports averaged']
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes in (left, right):
        axes.axhspan(estimate.lower, estimate.upper, color="#2a9d8f", alpha=0.12)
        axes.axhline(estimate.value, color="black", linewidth=0.8, linestyle=":")
    if estimate.history:
        steps, scores, lower = zip(*estimate.history, strict=True)
        left.plot(steps, scores, color="#8ab6b0", label="score on validation samples")
        left.plot(steps, np.maximum(lower, 0), color="#2a9d8f", label="less its margin")
    draws = np.array(estimate.transport_draws)
    counts = np.arange(1, len(draws) + 1)
    right.plot(counts, draws, ".", color="#c0c0c0", label="one transport")
    uppers = estimate.transport_uppers
    right.plot(counts, uppers, ".-", color="#d1495b", label="mean and margin")
    less = estimate.transport - estimate.floor
    right.axhline(less, color="#e9a23b", linewidth=0.8, label="transport less its floor")
    left.set(xlabel="critic steps", ylabel="W1, in units of the samples", title="from below")
    right.set(xlabel="transports averaged", title=f"from above, {estimate.transport_size} points")
    right.locator_params(integer=True)
    for axes in (left, right):
        axes.legend(frameon=False, fontsize=8)
    figure.suptitle(
        f"W1 = {estimate.value:.4g}, between {estimate.lower:.4g} and {estimate.upper:.4g} "
        f"at {estimate.confidence:.0%} confidence"
    )
    return figure
