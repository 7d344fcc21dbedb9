"""Two Gaussians on a line: the discriminator saturates, the clipped critic stays nearly linear.

Both are trained to optimality. Dotted: the optimal discriminator,
p_real / (p_real + p_fake), from the densities.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wgan_jax.critic_fit import fit_critic
from wgan_jax.networks import MLP
from wgan_jax.objectives import JensenShannon, Wasserstein
from wgan_jax.reproduce.figure import Claim, Result, Settings, pyplot, seeds_in_words
from wgan_jax.transforms.clipping import clip_weights
from wgan_jax.transforms.optimizers import Adam
from wgan_jax.types import Array, from_linen

REAL, FAKE, STD = -2.0, 2.0, 0.5
_X_MAX = 4.5


def run(settings: Settings) -> Result:
    seeds, steps = settings.seeds or settings.by_size(1, 5), settings.by_size(20, 2_000, 10_000)
    x = jnp.linspace(-_X_MAX, _X_MAX, 361)[:, None]
    curves = {}
    for row, (name, curve) in enumerate(players(steps).items()):
        keys = jax.random.split(jax.random.key(row), seeds)
        curves[name] = jax.vmap(partial(curve, x=x))(keys)
    grid = np.asarray(x[:, 0])
    numbers: dict[str, Any] = {"x": grid.tolist(), "real_mean": REAL, "fake_mean": FAKE, "std": STD}
    curves["best discriminator"] = best_discriminator(x)
    for name, (values, slopes) in curves.items():
        numbers[name] = {"value": np.asarray(values).tolist(), "slope": np.asarray(slopes).tolist()}
    return Result(draw(grid, numbers), numbers, claims(grid, numbers))


def players(steps: int) -> dict[str, Any]:
    """Return functions (key, x) -> values and slopes at x of a player trained to optimality."""
    network = from_linen(MLP(features=(64, 64, 64)))
    adam = Adam(learning_rate=2e-3, b1=0.5, decay="cosine", decay_iterations=steps).build()
    rows = {
        "discriminator": (JensenShannon(), adam, probability),
        "critic": (Wasserstein(), optax.chain(adam, clip_weights(0.05)), lambda *score: score),
    }

    def trained(objective: Any, tx: Any, output: Any) -> Any:
        fit = fit_critic(
            network,
            objective,
            lambda key, n: REAL + STD * jax.random.normal(key, (n, 1)),
            lambda key, n: FAKE + STD * jax.random.normal(key, (n, 1)),
            critic_tx=tx,
            steps=steps,
            batch_size=256,
        )

        def curve(key: Array, x: Array) -> tuple[Array, Array]:
            player, _ = fit(key)

            def f(x: Array) -> Array:
                return network.apply(player.params, player.stats, x, train=False)[0]

            return output(f(x), jax.grad(lambda x: f(x).sum())(x)[:, 0])

        return curve

    return {name: trained(*row) for name, row in rows.items()}


def probability(score: Array, slope: Array) -> tuple[Array, Array]:
    """Return D = sigmoid(score) and its slope, without cancellation near D = 1."""
    real, fake = jax.nn.sigmoid(score), jax.nn.sigmoid(-score)
    return real, real * fake * slope


def best_discriminator(x: Array) -> tuple[Array, Array]:
    """Return values and slopes of p_real / (p_real + p_fake), [1, n] each."""
    z = x.T
    score = (((z - FAKE) / STD) ** 2 - ((z - REAL) / STD) ** 2) / 2
    return probability(score, jnp.full_like(z, (REAL - FAKE) / STD**2))


def claims(x: np.ndarray, numbers: dict[str, Any]) -> list[Claim]:
    middle = int(np.abs(x - FAKE).argmin())
    slopes = {
        name: np.abs(np.array(numbers[name]["slope"])[:, middle])
        for name in ("discriminator", "critic")
    }
    with np.errstate(divide="ignore"):
        ratios = slopes["critic"] / slopes["discriminator"]
    between = (x >= REAL) & (x <= FAKE)
    critic = np.abs(np.array(numbers["critic"]["slope"])[:, between])
    variation = float((critic.max(1) / critic.min(1)).max())
    return [
        Claim(
            "in the middle of the fake data the discriminator's gradient is at least 100 times "
            "smaller than the critic's",
            bool(ratios.min() >= 100),
            f"smallest ratio {ratios.min():.3g} over {seeds_in_words(len(ratios))}",
        ),
        Claim(
            "between the two means the clipped critic is nearly linear: its slope varies by less "
            "than a factor of 10",
            variation < 10,
            f"largest over smallest slope {variation:.2f}",
        ),
    ]


def draw(x: np.ndarray, numbers: dict[str, Any]) -> Any:
    plt = pyplot()
    figure, (top, bottom) = plt.subplots(2, 1, figsize=(8, 7.4), sharex=True, layout="constrained")
    for mean, color, label in ((REAL, "#264653", "real"), (FAKE, "#e9c46a", "fake")):
        density = np.exp(-(((x - mean) / STD) ** 2) / 2) / (STD * np.sqrt(2 * np.pi))
        top.fill_between(x, density, color=color, alpha=0.35, label=f"density of the {label} data")
    for name, color, label in (
        ("discriminator", "#d1495b", "GAN discriminator, D(x)"),
        ("critic", "#2a9d8f", "clipped WGAN critic, f(x) - f(0)"),
    ):
        values, slopes = (np.array(numbers[name][part]) for part in ("value", "slope"))
        if name == "critic":
            values = values - values[:, [len(x) // 2]]
        top.plot(x, values.T, color=color, linewidth=1, alpha=0.8)
        bottom.plot(x, np.abs(slopes).T, color=color, linewidth=1, alpha=0.8)
        for ax in (top, bottom):
            ax.plot([], [], color=color, label=label)
    value, slope = (np.array(numbers["best discriminator"][part])[0] for part in ("value", "slope"))
    top.plot(x, value, color="black", linestyle=":", linewidth=1, label="optimal D")
    bottom.plot(x, np.abs(slope), color="black", linestyle=":", linewidth=1, label="optimal D")
    top.set(ylabel="value, density", title="Both trained to optimality, one line per seed")
    bottom.axvline(FAKE, color="#e9c46a", linewidth=6, alpha=0.4, label="middle of the fake data")
    bottom.set(
        yscale="log", ylim=(1e-18, 1e3), xlabel="x", ylabel="|gradient|",
        title="On the fake data the discriminator has no gradient left; the critic has",
    )  # fmt: skip
    for ax in (top, bottom):
        ax.grid(alpha=0.3)
        ax.legend(fontsize=8)
    return figure
