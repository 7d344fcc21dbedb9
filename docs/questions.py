"""Draw the figures of docs/questions.md from short runs, and print the numbers that it quotes.

python docs/questions.py [--only curves trained noise norms]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
from PIL import Image
from scipy.signal import medfilt

from wgan_jax import (
    MLP,
    DCGANCritic,
    DCGANGenerator,
    Wasserstein,
    all_but_norms,
    clip_weights,
    from_linen,
    gan,
    scan_steps,
    toy,
)
from wgan_jax.data.images import Digits
from wgan_jax.distances import exact_w1
from wgan_jax.transforms.optimizers import RMSProp

FIGURES = Path(__file__).parent / "figures"
RING = toy.Ring()
HELD_OUT = 10_000


def main() -> None:
    drawings = {"curves": curves, "trained": trained, "noise": noise, "norms": norms}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", choices=drawings, default=list(drawings))
    for name in parser.parse_args().only:
        figure = drawings[name]()
        figure.tight_layout()
        path = FIGURES / f"questions_{name}.png"
        figure.savefig(path, dpi=100)
        Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)


def ring_gan(critic_tx=None):
    """Build the clipped WGAN of configs/eight_gaussians.py, with smaller networks."""
    rmsprop = RMSProp(learning_rate=5e-4).build()
    critic = from_linen(MLP(features=(64, 64, 64)))
    model = gan(
        from_linen(MLP(features=(64, 64, 64), output_shape=(2,))),
        critic,
        Wasserstein(),
        generator_tx=rmsprop,
        critic_tx=optax.chain(rmsprop if critic_tx is None else critic_tx, clip_weights(0.05)),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )

    @jax.jit
    def score(state, x):
        return critic.apply(state.critic.params, state.critic.stats, x, train=False)[0]

    return model, score, model.init(jax.random.key(0), RING(jax.random.key(1), 256))


def held_out(model, score, state, n=HELD_OUT, seed=2):
    """Estimate on `n` fresh samples."""
    on_real, on_fake = jax.random.split(jax.random.key(seed))
    real, fake = RING(on_real, n), model.generate(state, on_fake, n)
    return float(score(state, real).mean() - score(state, fake).mean())


def curves():
    """Plot losses, estimate and exact W1 over one run."""
    model, score, state = ring_gan()
    run = scan_steps(model, n_critic=5, batch_size=256, length=50)
    history, steps, distances, fresh = [], [], [], []
    real, real_again = RING(jax.random.key(3), 500), RING(jax.random.key(4), 500)
    for _ in range(40):
        state, metrics = run(state, RING)
        history.append(metrics)
        steps.append(int(state.step))
        distances.append(exact_w1(model.generate(state, jax.random.key(5), 500), real))
        fresh.append(held_out(model, score, state))
    logged = {k: np.concatenate([h[k] for h in history]) for k in history[0]}
    floor = exact_w1(real_again, real)
    figure, axes = plt.subplots(1, 3, figsize=(11, 3.2))
    axes[0].plot(logged["critic/loss"], lw=0.6, label="critic")
    axes[0].plot(logged["generator/loss"], lw=0.6, label="generator")
    axes[0].set(title="Losses", xlabel="generator iterations")
    axes[1].plot(logged["critic/estimate"], lw=0.5, color="0.8", label="batch of 256")
    axes[1].plot(medfilt(logged["critic/estimate"], 101)[:-50], label="median of 101")
    axes[1].plot(steps, fresh, label="held out, 10,000", lw=1)
    axes[1].set(title="Estimate", xlabel="generator iterations", ylim=(0, None))
    axes[2].plot(steps, distances, label="samples to data")
    axes[2].axhline(floor, color="0.5", ls="--", label="data to data")
    axes[2].set(title="Exact W1, 500 points", xlabel="generator iterations", ylim=(0, None))
    for axis in axes:
        axis.legend(fontsize=8)
    late = np.array(steps) > 200
    rank = np.corrcoef(np.argsort(np.argsort(distances)), np.argsort(np.argsort(fresh)))[0, 1]
    print("curves: W1", distances[0], "->", distances[-1], "floor", floor)
    print("curves: estimate", fresh[0], "->", fresh[-1], "rank correlation with W1", rank)
    loss = medfilt(logged["critic/loss"], 101)
    print(
        "curves: critic loss",
        loss[100],
        "->",
        loss[-60],
        "largest W1 late",
        np.max(np.array(distances)[late]),
    )
    generator = medfilt(logged["generator/loss"], 101)
    print(
        "curves: generator loss",
        generator[100],
        generator[1500],
        generator[-60],
        generator.min(),
        generator.max(),
    )
    return figure


def trained():
    """Plot how much a critic still improves once its generator is frozen."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=True)
    settings = [
        ("RMSProp 5e-4, 1 critic step", None, 1, 300, axes[0]),
        ("RMSProp 5e-4, 5 critic steps", None, 5, 300, axes[0]),
        ("RMSProp 5e-4, 25 critic steps", None, 25, 300, axes[0]),
        ("RMSProp 5e-4", None, 5, 300, axes[1]),
        ("RMSProp 5e-3", RMSProp(learning_rate=5e-3).build(), 5, 300, axes[1]),
        ("Adam 5e-4, b1 0.9", optax.adam(5e-4, b1=0.9), 5, 300, axes[1]),
    ]
    for name, critic_tx, n_critic, length, axis in settings:
        model, score, state = ring_gan(critic_tx)
        run = scan_steps(model, n_critic=n_critic, batch_size=256, length=length)
        state, _ = run(state, RING)

        @jax.jit
        def climb(state, keys, model=model):
            return jax.lax.scan(lambda s, k: model.critic_step(s, RING(k, 256)), state, keys)

        values = [held_out(model, score, state)]
        for chunk in range(30):
            state, _ = climb(state, jax.random.split(jax.random.key(100 + chunk), 10))
            values.append(held_out(model, score, state))
        axis.plot(np.arange(31) * 10, values, label=name)
        print(f"trained: {name}: {values[0]:.4f} -> {values[-1]:.4f}")
    axes[0].set(ylabel="estimate, held out", title="Critic steps per iteration")
    axes[1].set(title="Optimizer of the critic, 5 steps")
    for axis in axes:
        axis.set(xlabel="critic steps after the generator stops", ylim=(0, None))
        axis.legend(fontsize=8)
    return figure


def noise():
    """Plot the estimate of one critic and generator on batches of several sizes."""
    model, score, state = ring_gan()
    state, _ = scan_steps(model, n_critic=5, batch_size=256, length=1_500)(state, RING)
    figure, axis = plt.subplots(figsize=(5.5, 3.2))
    for n in (64, 256, 1_024, 10_000):
        values = [held_out(model, score, state, n, seed) for seed in range(60)]
        axis.plot(values, ".", ms=3, label=f"batches of {n:,}")
        print(f"noise: batches of {n}: mean {np.mean(values):.4f}, std {np.std(values):.4f}")
    axis.set(xlabel="batch", ylabel="estimate", title="One critic, one generator")
    axis.legend(fontsize=8, ncols=2)
    return figure


def norms():
    """Plot the estimate of a DCGAN on 8 x 8 digits, with batch norm clipped and exempt."""
    digits = Digits().open()
    figure, axis = plt.subplots(figsize=(5.5, 3.2))
    for name, mask in (("clipped", None), ("exempt", all_but_norms)):
        rmsprop = RMSProp(learning_rate=5e-5).build()
        size = {"image_size": 8, "channels": 1, "filters": 8}
        model = gan(
            from_linen(DCGANGenerator(**size)),
            from_linen(DCGANCritic(norm="batch", extra_layers=1, **size)),
            Wasserstein(),
            generator_tx=rmsprop,
            critic_tx=optax.chain(rmsprop, clip_weights(0.01, mask)),
            latent=lambda key, n: jax.random.normal(key, (n, 16)),
        )
        state = model.init(jax.random.key(0), jnp.zeros((64, 8, 8, 1)))
        run = scan_steps(model, n_critic=5, batch_size=64, length=200)
        _, metrics = run(state, digits)
        estimate = np.abs(np.asarray(metrics["critic/estimate"]))
        axis.semilogy(estimate, lw=0.8, label=f"scales and shifts {name}")
        print(f"norms: {name}: median |estimate| over the last 50: {np.median(estimate[-50:]):.3g}")
    axis.set(xlabel="generator iterations", ylabel="|estimate|", title="Batch norm in the critic")
    axis.legend(fontsize=8)
    return figure


if __name__ == "__main__":
    main()
