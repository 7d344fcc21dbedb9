"""Twelve-layer critics on the swiss roll: gradients by layer, and the final weights.

The gradient is that of the critic's loss with respect to the input of each
activation, as root mean square over samples and units after training.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from wgan_jax.critic_fit import fit_critic
from wgan_jax.data.toy import SwissRoll
from wgan_jax.experiment.evaluation.critic import share_at
from wgan_jax.networks import MLP
from wgan_jax.objectives import Wasserstein
from wgan_jax.penalties import GradientPenalty
from wgan_jax.reproduce.figure import Claim, Result, Settings, pyplot, seeds_in_words
from wgan_jax.reproduce.gp_fig1a import noisy
from wgan_jax.transforms.clipping import clip_weights
from wgan_jax.transforms.optimizers import Adam, RMSProp
from wgan_jax.types import Array, PyTree, from_linen

LAYERS, CLIPS = 12, (1e-1, 1e-2, 1e-3)
_BINS = 61


def run(settings: Settings) -> Result:
    seeds = settings.seeds or settings.by_size(1, 3, 5)
    steps, width = settings.by_size(5, 600, 20_000), settings.by_size(16, 128, 512)
    on_real, on_fake, on_fit = jax.random.split(jax.random.key(0), 3)
    real, fake = SwissRoll()(on_real, 1_024), noisy(SwissRoll())(on_fake, 1_024)
    norms: dict[str, np.ndarray] = {}
    weights: dict[str, np.ndarray] = {}
    for row, (name, fit) in enumerate(critics(steps, width).items()):
        keys = jax.random.split(jax.random.fold_in(on_fit, row), seeds)
        params = [fit(key)[0].params for key in keys]
        norms[name] = np.stack([np.asarray(layer_gradients(p, real, fake)) for p in params])
        weights[name] = np.concatenate([np.ravel(w) for w in kernels(params[0])])
    numbers = {
        "gradients": {name: rows.tolist() for name, rows in norms.items()},
        "growth_per_layer": {name: growth(rows).tolist() for name, rows in norms.items()},
        "weights_at_clip": share_at(0.01, weights["c = 0.01"]),
        "histograms": {name: _histogram(weights[name]) for name in ("c = 0.01", "penalty")},
    }
    return Result(draw(norms, weights), numbers, claims(norms, numbers))


def critics(steps: int, width: int) -> dict[str, Any]:
    network = from_linen(MLP(features=(width,) * LAYERS))
    rmsprop = RMSProp(learning_rate=5e-5).build()
    adam = Adam(learning_rate=1e-4).build()

    def fit(tx: Any, penalty: Any = None) -> Any:
        return fit_critic(
            network,
            Wasserstein(),
            SwissRoll(),
            noisy(SwissRoll()),
            critic_tx=tx,
            penalty=penalty,
            steps=steps,
            batch_size=128,
        )

    clipped = {f"c = {c:g}": fit(optax.chain(rmsprop, clip_weights(c))) for c in CLIPS}
    return clipped | {"penalty": fit(adam, GradientPenalty(weight=0.1))}


def kernels(params: PyTree) -> list[Array]:
    return [params[f"Dense_{k}"]["kernel"] for k in range(LAYERS + 1)]


def layer_gradients(params: PyTree, real: Array, fake: Array) -> Array:
    """Return RMS gradients of the critic's loss at the input of hidden activations, [layers]."""
    n = len(real)
    x = jnp.concatenate([real, fake])
    sign = jnp.concatenate([-jnp.ones(n), jnp.ones(n)])

    def loss(shifts: list[Array]) -> Array:
        h = x
        for k in range(LAYERS):
            layer = params[f"Dense_{k}"]
            h = jax.nn.relu(h @ layer["kernel"] + layer["bias"][None, :] + shifts[k])
        last = params[f"Dense_{LAYERS}"]
        return (sign * (h @ last["kernel"] + last["bias"][None, :])[:, 0]).sum()

    zeros = [jnp.zeros((2 * n, w.shape[1])) for w in kernels(params)[:-1]]
    return jnp.stack([_rms(g) for g in jax.grad(loss)(zeros)])


def _rms(x: Array) -> Array:
    """Return the root mean square, scaled by the maximum since squares of tiny values underflow."""
    largest = jnp.maximum(jnp.abs(x).max(), jnp.finfo(x.dtype).tiny)
    return largest * jnp.sqrt(((x / largest) ** 2).mean())


def growth(norms: np.ndarray) -> np.ndarray:
    """Return the factor by which the gradient grows from a layer to the one below, per seed."""
    logs = np.log(np.maximum(norms, 1e-45))
    return np.exp((logs[:, 0] - logs[:, -1]) / (LAYERS - 1))


def _histogram(weights: np.ndarray) -> dict[str, list[float]]:
    limit = float(np.abs(weights).max())
    counts, edges = np.histogram(weights, bins=_BINS, range=(-limit, limit), density=True)
    return {"density": counts.tolist(), "edges": edges.tolist()}


def claims(norms: dict[str, np.ndarray], numbers: dict[str, Any]) -> list[Claim]:
    rate = {name: growth(rows) for name, rows in norms.items()}

    def range_of(name: str) -> str:
        return f"{name}: {rate[name].min():.3g} to {rate[name].max():.3g}"

    penalty = np.abs(np.log(rate["penalty"])).max()
    clipped = {name: np.abs(np.log(rate[name])).min() for name in rate if name != "penalty"}
    return [
        Claim(
            "for c = 0.1 gradients grow exponentially toward the first layer",
            bool(rate["c = 0.1"].min() > 1.1),
            f"factor per layer over {seeds_in_words(len(norms['c = 0.1']))}, {range_of('c = 0.1')}",
        ),
        Claim(
            "for c = 0.01 and 0.001 they vanish exponentially",
            bool(max(rate["c = 0.01"].max(), rate["c = 0.001"].max()) < 0.9),
            f"{range_of('c = 0.01')}; {range_of('c = 0.001')}",
        ),
        Claim(
            "with the gradient penalty they stay more even across layers than under any clipping",
            bool(penalty < min(clipped.values())),
            range_of("penalty"),
        ),
        Claim(
            "clipped weights pile up at +c and -c",
            numbers["weights_at_clip"] > 0.5,
            f"{numbers['weights_at_clip']:.0%} of the weights sit there for c = 0.01",
        ),
    ]


def draw(norms: dict[str, np.ndarray], weights: dict[str, np.ndarray]) -> Any:
    plt = pyplot()
    figure = plt.figure(figsize=(11, 5), layout="constrained")
    cells = figure.add_gridspec(2, 2, width_ratios=[1.5, 1])
    ax = figure.add_subplot(cells[:, 0])
    layers = np.arange(1, LAYERS + 1)
    for (name, rows), color in zip(
        norms.items(), ("#d1495b", "#e9c46a", "#8d99ae", "#2a9d8f"), strict=True
    ):
        label = "gradient penalty" if name == "penalty" else f"clipping, {name}"
        ax.plot(layers, np.maximum(rows, 1e-45).T, color=color, alpha=0.8, linewidth=1)
        ax.plot([], [], color=color, label=label)
    ax.set(
        yscale="log", xlabel="layer (1 is next to the data)", ylabel="RMS gradient",
        title="Clipping makes gradients explode or vanish, one line per seed",
    )  # fmt: skip
    ax.grid(alpha=0.3)
    ax.legend()
    for row, (name, title) in enumerate(
        (("c = 0.01", "weights, clipped at 0.01"), ("penalty", "weights, gradient penalty"))
    ):
        panel = figure.add_subplot(cells[row, 1])
        panel.hist(weights[name], bins=_BINS, color="#2a9d8f", density=True)
        panel.locator_params(axis="x", nbins=5)
        panel.set(title=title, xlabel="weight", ylabel="density")
    return figure
