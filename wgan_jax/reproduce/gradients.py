"""The norm of the generator's gradient over training, GAN against WGAN.

Left: both players train, with five critic steps per iteration. Right: an untrained
generator is held fixed while its critic is trained to optimality; the better a discriminator
is, the less a minimax GAN learns from it. The data are the ring of 8 Gaussians; at size `real`
Fashion-MNIST, with the paper's DCGAN.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from wgan_jax.data.toy import Ring
from wgan_jax.experiment.build import open_dataset
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.plots import running_median
from wgan_jax.gan import GAN
from wgan_jax.loop import sample_batch as draw_real
from wgan_jax.networks import DCGANCritic
from wgan_jax.objectives import JensenShannon
from wgan_jax.penalties import GradientPenalty
from wgan_jax.reproduce.figure import Claim, Result, Settings, pyplot, seeds_in_words
from wgan_jax.reproduce.garment_judge import fashion_mnist
from wgan_jax.reproduce.image_methods import image_config
from wgan_jax.reproduce.journal import ResultCache
from wgan_jax.reproduce.methods import toy_methods
from wgan_jax.reproduce.runs import train_seeds
from wgan_jax.transforms.optimizers import Adam
from wgan_jax.types import Array, GANState

METHODS = {"minimax GAN": "#d1495b", "GAN": "#e9c46a", "WGAN": "#2a9d8f", "WGAN-GP": "#264653"}
_NORM = "generator/gradient_norm"


def run(settings: Settings) -> Result:
    real = settings.size == "real"
    seeds = range(settings.seeds or (1 if real else settings.by_size(2, 3, 10)))
    steps = 200 if real else settings.by_size(20, 1_000, 10_000)
    critic_steps, every = (1_000, 25) if real else settings.by_size((20, 5), (2_000, 25))
    decay = settings.by_size(20, 10_000, 100_000)
    configs = _image_methods(settings) if real else toy_methods(decay, Ring())
    cache = ResultCache(settings.cache_path, {"size": settings.size, "seeds": len(seeds)})
    joint: dict[str, np.ndarray] = {}
    fixed: dict[str, np.ndarray] = {}

    def norms(method: str) -> list[Any]:
        config = dataclasses.replace(configs[method], steps=steps, n_critic=5)
        tracks = train_seeds(config, seeds, snapshots=1, samples=8)
        alone = standing_still(config, tracks[0].gan, seeds, critic_steps // every, every)
        return [[track.metrics[_NORM].tolist() for track in tracks], alone.tolist()]

    for name in METHODS:
        joint[name], fixed[name] = map(np.asarray, cache({"method": name}, norms))
        print(f"{name:11} smallest median {_smallest(joint[name]).min():.2g}", flush=True)
    thin = max(1, steps // 200)
    numbers = {
        "steps": np.arange(1, steps + 1, thin).tolist(),
        "norms": {name: norms[:, ::thin].tolist() for name, norms in joint.items()},
        "smallest_median": {name: _smallest(norms).tolist() for name, norms in joint.items()},
        "critic_steps": np.arange(0, critic_steps + 1, every).tolist(),
        "norms_standing_still": {name: norms.tolist() for name, norms in fixed.items()},
        "left_standing_still": {name: left(norms).tolist() for name, norms in fixed.items()},
    }
    picture = draw(joint, fixed, every, "Fashion-MNIST" if real else "Ring of 8")
    return Result(picture, numbers, claims(joint, fixed), earlier=cache.earlier)


def _image_methods(settings: Settings) -> dict[str, Config]:
    dataset = fashion_mnist(settings)

    def method(name: str, **changes: Any) -> Config:
        config = image_config(
            name,
            dataset,
            generator="DCGAN",
            size=32,
            filters=64,
            steps=1,
            rate=2e-4,
        )
        return dataclasses.replace(config, **changes)

    adam = Adam(learning_rate=1e-4, b1=0.0, b2=0.9)
    layer_norm = DCGANCritic(image_size=32, channels=1, filters=64, norm="layer")
    return {
        "minimax GAN": method("GAN", objective=JensenShannon(generator="minimax")),
        "GAN": method("GAN"),
        "WGAN": method("WGAN"),
        "WGAN-GP": method(
            "WGAN",
            clip=None,
            critic=layer_norm,
            penalty=GradientPenalty(weight=10.0),
            generator_optimizer=adam,
            critic_optimizer=adam,
        ),
    }


def standing_still(config: Config, model: GAN, seeds: range, blocks: int, every: int) -> np.ndarray:
    """Return gradient norms of an untrained generator, before and after each critic block."""

    def norm(state: GANState) -> Array:
        return model.generator_step(state, config.batch_size)[1][_NORM]

    def critic_steps(state: GANState, data: Any) -> tuple[GANState, None]:
        def step(state: GANState, _: None) -> tuple[GANState, None]:
            real = draw_real(data, state.key, state.step.critic, config.batch_size)
            return model.critic_step(state, real)[0], None

        return lax.scan(step, state, length=every)

    @jax.jit
    def norms(key: Array, data: Any) -> Array:
        def block(state: GANState, _: None) -> tuple[GANState, Array]:
            state, _ = critic_steps(state, data)
            return state, norm(state)

        like = data.struct(config.batch_size)
        state = model.init(key, jax.tree.map(jnp.zeros_like, like))
        return jnp.append(norm(state), lax.scan(block, state, length=blocks)[1])

    data = open_dataset(config)
    return np.stack([np.asarray(norms(jax.random.key(seed), data)) for seed in seeds])


def left(norms: np.ndarray) -> np.ndarray:
    """Return the median norm of the last tenth over the largest norm, per seed."""
    late = norms[:, -max(1, norms.shape[1] // 10) :]
    return np.median(late, axis=1) / norms.max(1)


def _smallest(norms: np.ndarray) -> np.ndarray:
    """Return the lowest running median of the norm over its initial median, per seed."""
    smooth = np.stack([running_median(row) for row in norms])
    return smooth.min(1) / np.median(norms[:, : max(1, norms.shape[1] // 50)], axis=1)


def claims(joint: dict[str, np.ndarray], fixed: dict[str, np.ndarray]) -> list[Claim]:
    low = {name: _smallest(norms) for name, norms in joint.items()}
    rest = {name: left(norms) for name, norms in fixed.items()}
    return [
        Claim(
            "while the generator is fixed and the discriminator is trained to optimality, the "
            "minimax GAN's gradient vanishes: less than a hundredth of it remains",
            bool((rest["minimax GAN"] < 0.01).all()),
            f"at most {rest['minimax GAN'].max():.2g} remains, {seeds_in_words(len(rest['WGAN']))}",
        ),
        Claim(
            "WGAN's does not: more than a tenth remains",
            bool((rest["WGAN"] > 0.1).all()),
            f"at least {rest['WGAN'].min():.2g} remains",
        ),
        Claim(
            "it also vanishes while both players train, with five discriminator steps: it falls "
            "below a hundredth of its initial size",
            bool((low["minimax GAN"] < 0.01).all()),
            f"largest of the seeds' smallest medians {low['minimax GAN'].max():.2g}",
        ),
        Claim(
            "under WGAN it does not fall below a tenth",
            bool((low["WGAN"] > 0.1).all()),
            f"smallest of the seeds' smallest medians {low['WGAN'].min():.2g}",
        ),
    ]


def draw(joint: dict[str, np.ndarray], fixed: dict[str, np.ndarray], every: int, data: str) -> Any:
    plt = pyplot()
    figure, (both, one) = plt.subplots(1, 2, figsize=(11, 4.8), layout="constrained", sharey=True)
    for name, color in METHODS.items():
        smooth = np.stack([running_median(row) for row in joint[name]])
        for ax, values, steps in (
            (both, smooth, np.arange(1, smooth.shape[1] + 1)),
            (one, fixed[name], every * np.arange(fixed[name].shape[1])),
        ):
            values = np.maximum(values, 1e-12)
            ax.plot(steps, np.median(values, axis=0), color=color, label=name)
            ax.fill_between(steps, values.min(0), values.max(0), color=color, alpha=0.2)
    both.set(
        yscale="log",
        xlabel="generator iterations",
        ylabel="L2 norm of the generator's gradient",
        title="Both train (running medians)",
    )
    one.set(xlabel="critic steps", title="Untrained generator held fixed")
    for ax in (both, one):
        ax.grid(alpha=0.3)
    both.legend()
    count = len(joint["WGAN"])
    shown = "median and range of " if count > 1 else ""
    figure.suptitle(f"{data}, {shown}{seeds_in_words(count)}")
    return figure
