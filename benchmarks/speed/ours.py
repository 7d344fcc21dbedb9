"""The wgan_jax contender, run as users run it."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.speed.contender import images
from benchmarks.speed.workloads import GP_BETAS, GP_RATE, GP_WEIGHT, N_CRITIC, RATE, C, Workload
from wgan_jax import (
    MLP,
    DCGANCritic,
    DCGANGenerator,
    GradientPenalty,
    Wasserstein,
    clip_weights,
    from_linen,
    gan,
    population,
    scan_steps,
    toy,
)
from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.networks import from_state_dict


class Ours:
    """`scan_steps`, or a `population` for several seeds."""

    def __init__(self, workload: Workload, chunk: int, dtype: str = "float32"):
        self._workload, self._chunk = workload, chunk
        self._networks = networks(workload, dtype)
        self._gan = build(workload, *self._networks)
        self._data = toy.Ring() if workload.widths else ArrayDataset(jnp.asarray(images(workload)))
        sizes = {"n_critic": N_CRITIC, "batch_size": workload.batch, "length": chunk}
        like = self._data(jax.random.key(1), workload.batch)
        if workload.seeds > 1:
            many = population(lambda _: self._gan, **sizes)
            self._state = many.init(jax.random.split(jax.random.key(0), workload.seeds), None, like)
            self._run = partial(_without_hypers, many.run)
        else:
            self._state = self._gan.init(jax.random.key(0), like)
            self._run = jax.jit(scan_steps(self._gan, **sizes), donate_argnums=0)

    def iterate(self, n: int) -> None:
        for _ in range(n // self._chunk):
            self._state, metrics = self._run(self._state, self._data)
        jax.block_until_ready(metrics)

    def parameters(self) -> tuple[int, int]:
        players = self._state.generator, self._state.critic
        return tuple(_count(player.params) // self._workload.seeds for player in players)

    def critic_loss(self, states: Any, z: np.ndarray, x: np.ndarray) -> float:
        generator, critic = converted(self._workload, states)
        fake = self._networks[0].apply(generator, z, train=True, mutable=["batch_stats"])[0]
        f_real, f_fake = (
            self._networks[1].apply(critic, y, train=True, mutable=["batch_stats"])[0]
            for y in (x, fake)
        )
        return float(f_fake.mean() - f_real.mean())


def networks(workload: Workload, dtype: str = "float32") -> tuple[Any, Any]:
    if workload.widths:
        options = {"features": workload.widths, "dtype": dtype}
        return MLP(output_shape=(2,), **options), MLP(**options)
    pixels, channels, filters = workload.image
    shape = {"image_size": pixels, "channels": channels, "filters": filters, "dtype": dtype}
    return DCGANGenerator(**shape), DCGANCritic(**shape)


def build(workload: Workload, generator: Any, critic: Any) -> Any:
    generator_tx, critic_tx = optimizers(workload)
    return gan(
        from_linen(generator),
        from_linen(critic),
        Wasserstein(),
        generator_tx=generator_tx,
        critic_tx=critic_tx,
        latent=lambda key, n: jax.random.normal(key, (n, workload.latent)),
        penalty=GradientPenalty(weight=GP_WEIGHT) if workload.penalty else None,
    )


def optimizers(workload: Workload) -> tuple[Any, Any]:
    if workload.penalty:
        adam = optax.adam(GP_RATE, *GP_BETAS)
        return adam, adam
    rmsprop = optax.rmsprop(RATE, decay=0.99, eps_in_sqrt=False)
    return rmsprop, optax.chain(rmsprop, clip_weights(C))


def converted(workload: Workload, states: Any) -> tuple[Any, Any]:
    """Return the variables of both networks from PyTorch state dicts."""
    pairs = zip(networks(workload), states, strict=True)
    generator, critic = (from_state_dict(module, state) for module, state in pairs)
    return {"params": generator[0]} | generator[1], {"params": critic[0]} | critic[1]


def _without_hypers(run: Any, states: Any, data: Any) -> Any:
    return run(states, None, data)


def _count(tree: Any) -> int:
    return sum(x.size for x in jax.tree.leaves(tree))
