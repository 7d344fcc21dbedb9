"""Lower confidence bounds on a mean by betting, about as narrow as for a normal mean."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import ndtr, ndtri
from jax.scipy.stats import norm

from wgan_jax.types import Array

MAX_BETS = 1 << 17  # longer samples are bet on in groups, by their means
_MAX_LOSS = 0.95  # of the wealth, in one bet
_AIM = 1.25  # times the wealth that rejects, so that the goal is passed before the last bet
_GRID = 16  # means tested at a time


def betting_bound(z: np.ndarray, alpha: float) -> float:
    """Compute a lower confidence bound on the mean of n values in [0, 1], valid at every n.

    A gambler with initial wealth alpha stakes s_i >= 0 on z_i exceeding m,

        W_i = W_{i - 1} + s_i (z_i - m).

    Each stake is chosen before z_i is seen, so W is a supermartingale if E z <= m, and reaches 1
    with probability at most alpha. The bound is the largest m at which it does. This holds for
    any stakes. These ones replicate an option that pays 1 at the end, in a market whose steps
    have the standard deviation sigma seen so far:

        s_i = phi(d) / (sigma sqrt(n - i + 1)),    Phi(d) = W_{i - 1},

    with the standard normal density phi and distribution function Phi. For large n, the bound
    is that of a normal mean, mean z - Phi^-1(1 - alpha) sigma / sqrt(n). Betting a constant
    fraction of the wealth costs sqrt(2 log(1 / alpha)) standard errors instead, 2.72 in place of
    1.96 at alpha = 0.025.

    Args:
      z: independent values [n]. They are shuffled, the same way in every call.
      alpha: probability that the bound exceeds the mean.

    Example:
      >>> import numpy as np
      >>> round(betting_bound(np.tile([0.4, 0.6], 500), 0.025), 3)
      0.493

    References:
      Waudby-Smith and Ramdas, Estimating means of bounded random variables by betting, 2024.
      Voráček and Orabona, STaR-Bets, 2025 (stakes that depend on wealth and remaining bets).
    """
    z = np.random.default_rng(0).permutation(np.asarray(z, np.float64))
    size = -(-len(z) // MAX_BETS)
    z = z[: len(z) // size * size].reshape(-1, size).mean(1)
    n, mean = len(z), float(z.mean())
    if mean <= 0:
        return 0.0
    # In units of the standard deviation, as float32 resolves the wealth and not the values.
    unit = max(float(z.std()), 1e-6 * mean)
    gaps, noise, most = ((x / unit).astype(np.float32) for x in (z - mean, *_scales(z, alpha)))
    table = np.zeros((MAX_BETS, 3), np.float32)  # of one size, so that one program serves all
    table[:n] = np.stack([gaps, noise, most], 1)
    # The wealth decreases in m, so each finer grid lies around the last m at which it reaches 1.
    low, high = 0.0, mean
    grid = mean - np.geomspace(mean, 0.1 * unit / math.sqrt(n), _GRID)
    with jax.default_device(_cpu()):  # a long loop of short steps
        bets = jnp.asarray(table)
        for _ in range(4):
            shifted, scaled = ((x / unit).astype(np.float32) for x in (grid - mean, grid))
            wealth = _highest_wealth(bets, n, shifted, scaled, alpha / _AIM)
            count = int((np.asarray(wealth) >= 1 / _AIM).sum())
            ends = low, *grid.tolist(), high
            low, high = ends[count], ends[count + 1]
            grid = np.linspace(low, high, _GRID + 2)[1:-1]
    return low


def _scales(z: np.ndarray, alpha: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the noise of all remaining bets and the largest gain counted, before each bet [n].

    Both depend on former values only. Gains beyond the largest are given away, which is fair to
    the null hypothesis and allows larger stakes.
    """
    n, count = len(z), np.arange(1, len(z) + 1)
    # One value of 1/2 with variance 1/4 stands for those not yet seen.
    prior_mean = (0.5 + np.cumsum(z)) / (count + 1)
    variance = (0.25 + np.cumsum((z - prior_mean) ** 2)) / (count + 1)
    mean, top = np.cumsum(z) / count, np.maximum.accumulate(z)
    # The last term is about how far the bound of nearly constant values lies below their mean.
    most = 2 * (top - mean) + 2 * mean * math.log(1 / alpha) / n
    most = np.where(top > np.minimum.accumulate(z), most, 1.0)
    variance, most = np.append(0.25, variance[:-1]), np.append(1.0, most[:-1])
    return np.sqrt(variance * count[::-1]), most


def _cpu() -> jax.Device | None:
    """Return a CPU device, or None where JAX has none."""
    try:
        return jax.local_devices(backend="cpu")[0]
    except RuntimeError:
        return None


@jax.jit
def _highest_wealth(table: Array, n: int, m: Array, scaled: Array, start: float) -> Array:
    """Return the highest wealth [k] over n bets against each of k means.

    Args:
      table: [padded n, 3], values minus the sample mean, noise of the remaining bets, largest gain.
      n: number of bets.
      m: means tested, minus the sample mean [k].
      scaled: means tested [k].
      start: initial wealth.
    """

    def bet(i: Array, wealths: tuple[Array, Array]) -> tuple[Array, Array]:
        wealth, highest = wealths
        gap, noise, most = table[i]
        # The stake falls by at most 1 / most per unit of wealth and risks less than all of it, so
        # the next wealth increases in the wealth, and by induction decreases in m.
        kink = ndtr(noise / most)
        stake = norm.pdf(ndtri(jnp.minimum(wealth, kink))) / noise
        stake = stake - jnp.maximum(wealth - kink, 0) / most
        stake = jnp.clip(stake, 0, _MAX_LOSS * wealth / scaled)
        wealth = wealth + stake * jnp.minimum(gap - m, most)
        return wealth, jnp.maximum(wealth, highest)

    wealth = jnp.full_like(m, start)
    return lax.fori_loop(0, n, bet, (wealth, wealth))[1]
