"""Straightforward Flax: a Python loop over jitted steps, with Flax's own layers."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.speed import ours
from benchmarks.speed.contender import images
from benchmarks.speed.workloads import GP_BETAS, GP_RATE, GP_WEIGHT, N_CRITIC, RATE, C, Workload


class MLP(nn.Module):
    widths: tuple[int, ...]
    outputs: int

    @nn.compact
    def __call__(self, x, train):
        for width in self.widths:
            x = nn.relu(nn.Dense(width)(x))
        return nn.Dense(self.outputs)(x)


class Generator(nn.Module):
    image: tuple[int, int, int]

    @nn.compact
    def __call__(self, z, train):
        pixels, channels, filters = self.image
        width = filters * pixels // 8
        x = nn.Dense(16 * width, use_bias=False)(z).reshape(-1, 4, 4, width)
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        while width > filters:
            width //= 2
            x = self._up(width)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
        return jnp.tanh(self._up(channels)(x))

    def _up(self, width):
        return nn.ConvTranspose(width, (4, 4), (2, 2), use_bias=False, transpose_kernel=True)


class Critic(nn.Module):
    image: tuple[int, int, int]

    @nn.compact
    def __call__(self, x, train):
        pixels, _, width = self.image
        x = nn.leaky_relu(self._down(width)(x), 0.2)
        for _ in range(pixels.bit_length() - 4):
            width *= 2
            x = nn.BatchNorm(use_running_average=not train, momentum=0.9)(self._down(width)(x))
            x = nn.leaky_relu(x, 0.2)
        return nn.Dense(1, use_bias=False)(x.reshape(x.shape[0], -1))

    def _down(self, width):
        return nn.Conv(width, (4, 4), (2, 2), padding=1, use_bias=False)


class PlainFlax:
    """A first implementation: correct, jitted step by step, keys split on the host."""

    def __init__(self, workload: Workload):
        self._workload = workload
        if workload.widths:
            self._generator, self._critic = MLP(workload.widths, 2), MLP(workload.widths, 1)
        else:
            self._generator, self._critic = Generator(workload.image), Critic(workload.image)
            self._images = jnp.asarray(images(workload))
        if workload.penalty:
            self._txs = (optax.adam(GP_RATE, *GP_BETAS),) * 2
        else:
            self._txs = (optax.rmsprop(RATE, decay=0.99, eps_in_sqrt=False),) * 2
        self._key = jax.random.key(0)
        start, real = self._start, self._real
        critic_step, generator_step = self._critic_step, self._generator_step
        if workload.seeds > 1:
            start, critic_step, generator_step = map(
                jax.vmap, (start, critic_step, generator_step), (0, (0, 0, 0), (0, 0))
            )
            real = jax.vmap(real)
        self._real_jit, self._critic_jit, self._generator_jit = map(
            jax.jit, (real, critic_step, generator_step)
        )
        self._players = start(self._next_key())

    def iterate(self, n: int) -> None:
        for _ in range(n):
            for _ in range(N_CRITIC):
                real = self._real_jit(self._next_key())
                self._players, loss = self._critic_jit(self._players, real, self._next_key())
            self._players, loss = self._generator_jit(self._players, self._next_key())
        jax.block_until_ready((self._players, loss))

    def parameters(self) -> tuple[int, int]:
        counts = [sum(x.size for x in jax.tree.leaves(p[0]["params"])) for p in self._players]
        return tuple(count // self._workload.seeds for count in counts)

    def critic_loss(self, states: Any, z: np.ndarray, x: np.ndarray) -> float:
        generator, critic = ours.converted(self._workload, states)
        fake, _ = self._apply(self._generator, generator, z)
        f_real, f_fake = (self._apply(self._critic, critic, y)[0] for y in (x, fake))
        return float(f_fake.mean() - f_real.mean())

    def _next_key(self):
        self._key, key = jax.random.split(self._key)
        return jax.random.split(key, self._workload.seeds) if self._workload.seeds > 1 else key

    def _start(self, key):
        on_generator, on_critic = jax.random.split(key)
        z, x = jnp.zeros((1, self._workload.latent)), jnp.zeros((1, *self._sample_shape()))
        variables = (
            self._generator.init(on_generator, z, True),
            self._critic.init(on_critic, x, True),
        )
        return tuple((v, tx.init(v["params"])) for v, tx in zip(variables, self._txs, strict=True))

    def _sample_shape(self):
        pixels, channels, _ = self._workload.image
        return (2,) if self._workload.widths else (pixels, pixels, channels)

    def _real(self, key):
        batch, on_mode, on_noise = self._workload.batch, *jax.random.split(key)
        if not self._workload.widths:
            rows = jax.random.randint(on_mode, (batch,), 0, len(self._images))
            return self._images[rows].astype(jnp.float32) / 127.5 - 1
        angle = jax.random.randint(on_mode, (batch,), 0, 8) * (jnp.pi / 4)
        centers = 2 * jnp.stack([jnp.cos(angle), jnp.sin(angle)], -1)
        return centers + 0.02 * jax.random.normal(on_noise, (batch, 2))

    def _apply(self, network, variables, x):
        return network.apply(variables, x, True, mutable=["batch_stats"])

    def _latent(self, key):
        return jax.random.normal(key, (self._workload.batch, self._workload.latent))

    def _critic_step(self, players, real, key):
        (generator, generator_state), (critic, state) = players
        on_latent, on_mix = jax.random.split(key)
        fake, _ = self._apply(self._generator, generator, self._latent(on_latent))

        def loss(params):
            variables = critic | {"params": params}
            f_real, stats = self._apply(self._critic, variables, real)
            f_fake, stats = self._apply(self._critic, variables | stats, fake)
            value = f_fake.mean() - f_real.mean()
            if self._workload.penalty:
                t = jax.random.uniform(on_mix, (len(real), 1))
                x = t * real + (1 - t) * fake
                slope = jax.grad(lambda x: self._apply(self._critic, variables, x)[0].sum())(x)
                norm = jnp.sqrt((slope**2).sum(1) + 1e-12)
                value = value + GP_WEIGHT * ((norm - 1) ** 2).mean()
            return value, stats

        (value, stats), slope = jax.value_and_grad(loss, has_aux=True)(critic["params"])
        updates, state = self._txs[1].update(slope, state)
        params = optax.apply_updates(critic["params"], updates)
        if not self._workload.penalty:
            params = jax.tree.map(lambda w: jnp.clip(w, -C, C), params)
        return ((generator, generator_state), ({"params": params, **stats}, state)), value

    def _generator_step(self, players, key):
        (generator, state), (critic, critic_state) = players
        z = self._latent(key)

        def loss(params):
            fake, stats = self._apply(self._generator, generator | {"params": params}, z)
            return -self._apply(self._critic, critic, fake)[0].mean(), stats

        (value, stats), slope = jax.value_and_grad(loss, has_aux=True)(generator["params"])
        updates, state = self._txs[0].update(slope, state)
        params = optax.apply_updates(generator["params"], updates)
        return (({"params": params, **stats}, state), (critic, critic_state)), value
