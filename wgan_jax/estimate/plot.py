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
      >>> p = lambda key, n: jax.random.normal(key, (n, 2))
      >>> q = lambda key, n: p(key, n) + 1
      >>> w1 = estimate_w1(p, q, key=jax.random.key(0), steps=50, cones=64, held_out=4_096)
      >>> [axes.get_xlabel() for axes in plot_bounds(w1).axes]
      ['critic steps', 'transports averaged']
    """
    return estimate.plot()
