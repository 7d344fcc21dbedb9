"""Plots of an estimate: how its bounds converged."""

from __future__ import annotations

from typing import Any

from wgan_jax.estimate.result import W1Estimate


def plot_bounds(estimate: W1Estimate) -> Any:
    """Plot the lower bound over critic steps, and the upper bound over exact transports.

    Same as `estimate.plot()`.

    Args:
      estimate: result of `estimate_w1`.

    Returns:
      A matplotlib `Figure`; `savefig(path)` writes it.

    Example:
      >>> import jax
      >>> from wgan_jax import estimate_w1
      >>> x, y = jax.random.normal(jax.random.key(0), (2, 500, 2))
      >>> w1 = estimate_w1(x, y + 1, key=jax.random.key(1), steps=50, cones=64)
      >>> [axes.get_xlabel() for axes in plot_bounds(w1).axes]
      ['critic steps', 'transports averaged']
    """
    return estimate.plot()
