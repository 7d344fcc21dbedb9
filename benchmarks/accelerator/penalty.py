"""Check that a PyTorch step trains on the penalty; a compiled one may silently drop it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.speed.contender import probe
from benchmarks.speed.ours import converted, networks
from benchmarks.speed.workloads import GP_WEIGHT, Workload
from wgan_jax.networks import from_state_dict

_TOLERANCE = 5e-2  # half precision passes, a gradient without its penalty does not


def check_gradient(contender: Any, workload: Workload, states: Any, samples: Any = None) -> None:
    """Compare a contender's critic gradient with that of JAX at the same weights and draws.

    Raises:
      ValueError: the gradients differ.
    """
    z, real = probe(workload) if samples is None else samples
    t = np.linspace(0, 1, len(z), dtype=np.float32)[:, None]
    right, bare = (gradient(workload, states, z, real, t, weight) for weight in (GP_WEIGHT, 0.0))
    gradients = contender.critic_gradient(states, z, real, t)
    actual = from_state_dict(networks(workload)[1], gradients)[0]
    error, share = distance(actual, right), distance(bare, right)
    if share < 2 * _TOLERANCE:
        raise ValueError(f"the penalty is only {share:.1%} of the gradient: too little to check")
    if error > _TOLERANCE:
        drops = distance(actual, bare) < _TOLERANCE
        raise ValueError(
            f"its gradient is {error:.0%} off that of JAX"
            f"{': it drops the gradient of the penalty' if drops else ''}"
        )


def gradient(workload: Workload, states: Any, z: Any, real: Any, t: Any, weight: float) -> Any:
    """Return the gradient of the critic's loss with its penalty, by JAX in full precision."""
    generator_module, critic_module = networks(workload)
    generator, critic = converted(workload, states)

    def score(params: Any, x: Any) -> Any:
        return critic_module.apply({"params": params}, x, train=True)

    def loss(params: Any) -> Any:
        fake = generator_module.apply(generator, z, train=True)
        slope = jax.grad(lambda x: score(params, x).sum())(t * real + (1 - t) * fake)
        norm = jnp.sqrt(jnp.square(slope).sum(1) + 1e-12)
        penalty = weight * jnp.square(norm - 1).mean()
        return score(params, fake).mean() - score(params, real).mean() + penalty

    with jax.default_matmul_precision("highest"):
        return jax.jit(jax.grad(loss))(critic["params"])


def distance(tree: Any, other: Any) -> float:
    """Return the norm of the difference of all leaves, relative to the second tree."""
    pairs = list(zip(*map(jax.tree.leaves, (tree, other)), strict=True))
    off = sum(float(np.square(np.asarray(a) - np.asarray(b)).sum()) for a, b in pairs)
    size = sum(float(np.square(np.asarray(b)).sum()) for _, b in pairs)
    return (off / size) ** 0.5
