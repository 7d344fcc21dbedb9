"""Value surfaces of critics trained to optimality: clipping against the gradient penalty.

The generator is fixed to the data plus unit Gaussian noise, as in the figure of
the WGAN-GP paper. Each critic is divided by its steepest slope on the plotted square.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wgan_jax.critic_fit import fit_critic
from wgan_jax.data.toy import Grid, Ring, SwissRoll
from wgan_jax.distances.exact import exact_w1
from wgan_jax.networks import MLP
from wgan_jax.objectives import Wasserstein
from wgan_jax.penalties import GradientPenalty
from wgan_jax.reproduce.figure import Claim, Result, Settings, pyplot
from wgan_jax.transforms.clipping import clip_weights
from wgan_jax.transforms.optimizers import Adam, RMSProp
from wgan_jax.types import Array, from_linen

# Scaled as in gan_toy.py of the WGAN-GP paper, all to roughly unit size.
DATA: dict[str, Any] = {
    "8 Gaussians": Ring(radius=2 / 1.414, std=0.02 / 1.414),
    "25 Gaussians": Grid(spacing=2 / 2.828, std=0.05 / 2.828),
    "Swiss roll": SwissRoll(),
}
_EXTENT, _SIDE, _POINTS = 2.0, 81, 1_000


def run(settings: Settings) -> Result:
    steps, width = settings.by_size(10, 3_000, 20_000), settings.by_size(32, 128, 512)
    numbers: dict[str, Any] = {}
    surfaces: dict[tuple[str, str], np.ndarray] = {}
    for data_name, data in DATA.items():
        on_real, on_fake, on_fit = jax.random.split(jax.random.key(0), 3)
        real, fake = data(on_real, _POINTS), noisy(data)(on_fake, _POINTS)
        row: dict[str, Any] = {"w1": exact_w1(real, fake)}
        for column, (method, fit) in enumerate(critics(data, steps, width).items()):
            critic = fit(jax.random.fold_in(on_fit, column))
            surfaces[method, data_name], slope = surface(critic)
            dual = float(critic(real).mean() - critic(fake).mean()) / slope
            row[method] = {"steepest_slope": slope, "share_of_w1": dual / row["w1"]}
        numbers[data_name] = row
        print(data_name, row, flush=True)
    return Result(draw(surfaces, numbers), numbers, claims(numbers))


def noisy(data: Callable[[Array, int], Array]) -> Callable[[Array, int], Array]:
    def sample(key: Array, n: int) -> Array:
        on_data, on_noise = jax.random.split(key)
        return data(on_data, n) + jax.random.normal(on_noise, (n, 2))

    return sample


def critics(data: Any, steps: int, width: int) -> dict[str, Callable[[Array], Any]]:
    """Return critics by method, as functions of a key."""
    network = from_linen(MLP(features=(width,) * 3))
    rmsprop = RMSProp(learning_rate=1e-3, decay="cosine", decay_iterations=steps).build()
    adam = Adam(learning_rate=1e-3, decay="cosine", decay_iterations=steps).build()
    rows = {
        "weight clipping": (optax.chain(rmsprop, clip_weights(0.05)), None),
        "gradient penalty": (adam, GradientPenalty(weight=10.0)),
    }

    def method(tx: Any, penalty: Any) -> Callable[[Array], Any]:
        fit = fit_critic(
            network,
            Wasserstein(),
            data,
            noisy(data),
            critic_tx=tx,
            penalty=penalty,
            steps=steps,
            batch_size=256,
        )

        def trained(key: Array) -> Any:
            player, _ = fit(key)
            return lambda x: network.apply(player.params, player.stats, x, train=False)[0]

        return trained

    return {name: method(*row) for name, row in rows.items()}


def surface(critic: Callable[[Array], Array]) -> tuple[np.ndarray, float]:
    """Return values [side, side] divided by their steepest slope, and that slope."""
    line = jnp.linspace(-_EXTENT, _EXTENT, _SIDE)
    mesh = jnp.stack(jnp.meshgrid(line, line), -1).reshape(-1, 2)
    slope = float(jnp.linalg.norm(jax.grad(lambda x: critic(x).sum())(mesh), axis=1).max())
    return np.asarray(critic(mesh)).reshape(_SIDE, _SIDE) / slope, slope


def claims(numbers: dict[str, Any]) -> list[Claim]:
    shares = {
        method: [row[method]["share_of_w1"] for row in numbers.values()]
        for method in ("weight clipping", "gradient penalty")
    }
    clipped, penalized = shares["weight clipping"], shares["gradient penalty"]
    evidence = ", ".join(
        f"{name} {c:.0%} and {p:.0%}"
        for name, c, p in zip(numbers, clipped, penalized, strict=True)
    )
    return [
        Claim(
            "with its slope scaled to 1, the penalized critic attains more of W1 than the "
            "clipped one on all three data sets",
            all(p > c for c, p in zip(clipped, penalized, strict=True)),
            f"share of exact W1, clipped and penalized: {evidence}",
        )
    ]


def draw(surfaces: dict[tuple[str, str], np.ndarray], numbers: dict[str, Any]) -> Any:
    plt = pyplot()
    methods = ("weight clipping", "gradient penalty")
    figure, cells = plt.subplots(2, 3, figsize=(10, 7.2), layout="constrained")
    line = np.linspace(-_EXTENT, _EXTENT, _SIDE)
    for row, method in zip(cells, methods, strict=True):
        for ax, name in zip(row, DATA, strict=True):
            values = surfaces[method, name]
            ax.contour(line, line, values, levels=18, cmap="viridis", linewidths=0.9)
            points = np.asarray(DATA[name](jax.random.key(1), 400))
            ax.scatter(*points.T, s=4, color="#d1495b", linewidths=0)
            share = numbers[name][method]["share_of_w1"]
            ax.set(aspect="equal", xlim=(-2, 2), ylim=(-2, 2), xticks=[], yticks=[])
            ax.set_title(f"{name}: {share:.0%} of $W_1$", fontsize=10)
        row[0].set_ylabel(method)
    figure.suptitle("Level sets of critics trained to optimality; red: data")
    return figure
