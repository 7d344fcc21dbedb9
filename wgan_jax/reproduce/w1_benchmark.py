"""W1 estimates against the truth, on the 28 pairs of Wasserstein1Benchmark.

Each critic maximizes its own objective between the two distributions of a pair; its
value is its score on held-out samples, as published for the other methods.
`estimate_w1` adds its bounds. All pairs share the same settings. Results are
saved as they come, and an interrupted run resumes from them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax

from wgan_jax.critic_fit import fit_critic
from wgan_jax.data.funnels import Funnels
from wgan_jax.estimate import estimate_w1
from wgan_jax.networks import MLP, GroupSort
from wgan_jax.objectives import Wasserstein
from wgan_jax.penalties import GradientPenalty, LipschitzPenalty
from wgan_jax.reproduce.figure import Claim, Result, Settings, Table, pyplot
from wgan_jax.reproduce.journal import ResultCache
from wgan_jax.transforms.clipping import clip_weights
from wgan_jax.transforms.optimizers import Adam
from wgan_jax.types import Array, from_linen

DIMS, COUNTS = (2, 4, 8, 16, 32, 64, 128), (4, 16, 64, 256)
_WIDTHS = (128, 128, 128)
_HELD_OUT = 65_536
_BLOCK = 8_192

# Mean and worst relative error and mean gradient cosine over the 28 pairs, as published with
# Korotin, Kolesov and Burnaev, Kantorovich Strikes Back!, 2022.
PUBLISHED = {
    "clip": {"mean_error": 1.08, "worst_error": 7.26, "cosine": 0.18},
    "gp": {"mean_error": 0.21, "worst_error": 0.69, "cosine": 0.73},
    "lp": {"mean_error": 0.158, "worst_error": 0.46, "cosine": 0.77},
    "groupsort": {"mean_error": 0.33, "worst_error": 0.81, "cosine": 0.71},
    "best of eleven, per pair": {"mean_error": 0.055, "worst_error": 0.32},
}
LABELS = {
    "clip": "weight clipping",
    "gp": "WGAN-GP",
    "lp": "WGAN-LP",
    "groupsort": "GroupSort",
    "estimate_w1": "estimate_w1 (cones)",
}
OURS = "estimate_w1"
BASELINES = ("clip", "gp", "lp", "groupsort")


def run(settings: Settings) -> Result:
    pairs = settings.by_size([(2, 4), (4, 4)], [(d, k) for d in DIMS for k in COUNTS])
    cache = ResultCache(settings.cache_path, {"size": settings.size})
    rows: list[dict[str, Any]] = [{"dim": dim, "funnels": count} for dim, count in pairs]
    for name in (OURS, *BASELINES):
        for row in rows:
            entry = {"dim": row["dim"], "funnels": row["funnels"], "name": name}
            result = cache(entry, lambda dim, funnels, name: measure(dim, funnels, name, settings))
            row |= result
            print(_line(entry, result), flush=True)
    summary = {name: summarize(rows, name) for name in LABELS}
    numbers = {"pairs": rows, "summary": summary, "published": PUBLISHED}
    return Result(draw(rows), numbers, claims(rows, summary), table(rows, summary), cache.earlier)


def measure(dim: int, count: int, name: str, settings: Settings) -> dict[str, Any]:
    """Evaluate a method on a pair: value and gradient cosine; for ours also truth and bounds."""
    start = time.perf_counter()
    pair = Funnels.draw(dim, count)
    on_truth, on_ours, on_test, *keys = jax.random.split(jax.random.key(dim * 1000 + count), 7)
    on_value, on_cosine = jax.random.split(on_test)
    result: dict[str, Any] = {}
    if name == OURS:
        truth, error = pair.w1(on_truth, settings.by_size(20_000, 1_000_000))
        result |= {"truth": truth, "truth_error": error}
        start = time.perf_counter()
        ours = estimate_w1(pair, pair.target, key=on_ours, steps=settings.by_size(50, None))
        fields = ("value", "lower", "upper", "converged", "steps")
        numbers, critic = {field: getattr(ours, field) for field in fields}, ours.critic
    else:
        build = methods(settings.by_size(20, 3_000))[name]
        critic = build(pair, keys[BASELINES.index(name)])
        numbers = {"value": dual(critic, pair, on_value)}
    numbers["cosine"] = cosine(critic, pair, on_cosine)
    return result | {name: numbers | {"seconds": round(time.perf_counter() - start, 1)}}


Critic = Callable[[Array], Array]


def methods(steps: int) -> dict[str, Callable[[Funnels, Array], Critic]]:
    """Return critics by name, as functions of a pair and a key; all are higher on the target."""
    adam = Adam(learning_rate=1e-3, decay="cosine", decay_iterations=steps).build()
    mlp, sorting = MLP(features=_WIDTHS), GroupSort(features=(64, 64))

    def method(module: Any, tx: Any, penalty: Any = None) -> Callable[[Funnels, Array], Critic]:
        network = from_linen(module)

        def build(pair: Funnels, key: Array) -> Critic:
            fit = fit_critic(
                network,
                Wasserstein(),
                pair.target,
                pair,
                critic_tx=tx,
                penalty=penalty,
                steps=steps,
                batch_size=512,
            )
            player, _ = fit(key)
            return lambda x: network.apply(player.params, player.stats, x, train=False)[0]

        return build

    return {
        "clip": method(mlp, optax.chain(adam, clip_weights(0.04))),
        "gp": method(mlp, adam, GradientPenalty(weight=10.0)),
        "lp": method(mlp, adam, LipschitzPenalty(weight=10.0)),
        "groupsort": method(sorting, adam),
    }


def dual(critic: Critic, pair: Funnels, key: Array) -> float:
    """Return E_q f - E_p f on held-out samples."""

    @jax.jit
    def block(pair: Funnels, key: Array) -> Array:
        on_p, on_q = jax.random.split(key)
        return critic(pair.target(on_q, _BLOCK)).mean() - critic(pair(on_p, _BLOCK)).mean()

    keys = jax.random.split(key, _HELD_OUT // _BLOCK)
    return float(np.mean([block(pair, one) for one in keys]))


def cosine(critic: Critic, pair: Funnels, key: Array) -> float:
    """Return the mean cosine between the gradients of critic and optimal potential, on p."""
    y = pair.target(key, _BLOCK)
    x, cost = pair.transport(y)
    slope = jax.grad(lambda x: critic(x).sum())(x)
    along = ((y - x) * slope).sum(1)
    norms = np.linalg.norm(y - x, axis=1) * np.linalg.norm(slope, axis=1)
    return float(np.mean((np.asarray(along) / np.maximum(norms, 1e-12))[np.asarray(cost) > 1e-6]))


def summarize(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    errors = [abs(row[name]["value"] / row["truth"] - 1) for row in rows]
    return {
        "mean_error": float(np.mean(errors)),
        "worst_error": float(np.max(errors)),
        "cosine": float(np.mean([row[name]["cosine"] for row in rows])),
    }


def table(rows: list[dict[str, Any]], summary: dict[str, dict[str, float]]) -> Table:
    """Return all pairs, then mean error, worst error and gradient cosine, ours and published."""
    head = ["pair", "W1", "lower", "value", "upper", *(LABELS[name] for name in BASELINES)]
    body = [
        [
            f"d {row['dim']}, {row['funnels']} funnels",
            f"{row['truth']:.4f}",
            *(f"{row[OURS][field]:.4f}" for field in ("lower", "value", "upper")),
            *(f"{row[name]['value']:.4f}" for name in BASELINES),
        ]
        for row in rows
    ]
    for field, title, form in (
        ("mean_error", "mean error", ".1%"),
        ("worst_error", "worst error", ".1%"),
        ("cosine", "gradient cosine", ".2f"),
    ):
        here = [f"{summary[name][field]:{form}}" for name in (OURS, *BASELINES)]
        there = [f"{PUBLISHED[name][field]:{form}}" for name in BASELINES]
        body.append([title, "", "", here[0], "", *here[1:]])
        body.append([f"{title}, published", "", "", "", "", *there])
    return Table(head, body)


def claims(rows: list[dict[str, Any]], summary: dict[str, dict[str, float]]) -> list[Claim]:
    ours = [row["estimate_w1"] for row in rows]
    truths = [row["truth"] for row in rows]
    held = [e["lower"] <= w1 <= e["upper"] for e, w1 in zip(ours, truths, strict=True)]
    shares = [e["lower"] / w1 for e, w1 in zip(ours, truths, strict=True)]
    errors = summary["estimate_w1"]
    return [
        Claim(
            "lower <= W1 <= upper on every pair",
            all(held),
            f"{sum(held)} of {len(held)} pairs",
        ),
        Claim(
            "the value is within 2% of W1 on average, and within 8% on every pair",
            errors["mean_error"] <= 0.02 and errors["worst_error"] <= 0.08,
            f"mean error {errors['mean_error']:.2%}, worst {errors['worst_error']:.2%}; the "
            "published best method reaches 15.8% and 46%",
        ),
        Claim(
            "the lower bound is at least 95% of W1 on every pair",
            min(shares) >= 0.95,
            f"smallest share {min(shares):.2%}",
        ),
    ]


def draw(rows: list[dict[str, Any]]) -> Any:
    plt = pyplot()
    counts = sorted({row["funnels"] for row in rows})
    figure, panels = plt.subplots(
        1, len(counts), figsize=(3.6 * len(counts) + 1, 4.4), sharey=True, layout="constrained",
        squeeze=False,
    )  # fmt: skip
    colors = dict(zip(LABELS, ("#8d99ae", "#e9c46a", "#e76f51", "#7b2d8b", "#2a9d8f"), strict=True))
    for ax, count in zip(panels[0], counts, strict=True):
        here = [row for row in rows if row["funnels"] == count]
        dims = [row["dim"] for row in here]
        for name, label in LABELS.items():
            share = [row[name]["value"] / row["truth"] for row in here]
            ax.plot(dims, share, "o-", color=colors[name], label=label, markersize=4)
        low, high = (
            [row["estimate_w1"][end] / row["truth"] for row in here] for end in ("lower", "upper")
        )
        ax.fill_between(
            dims, low, high, color=colors["estimate_w1"], alpha=0.15, label="certified bounds"
        )
        ax.axhline(1, color="black", linewidth=0.8, label="true W1")
        ax.set(
            xscale="log", yscale="log", xticks=dims, xlabel="dimension", title=f"{count} funnels"
        )
        ax.set_xticklabels(dims)
        ax.minorticks_off()
        ax.set_ylim(0.05, 30)
        ax.grid(alpha=0.3)
    panels[0, 0].set_ylabel("value / true W1")
    panels[0, 0].set_yticks([0.1, 0.5, 1, 2, 10], ["0.1", "0.5", "1", "2", "10"])
    figure.suptitle("W1 estimates relative to the truth: only bounds show how far to trust one")
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4)
    return figure


def _line(entry: dict[str, Any], result: dict[str, Any]) -> str:
    name = entry["name"]
    numbers = result[name]
    line = f"d {entry['dim']:3}  funnels {entry['funnels']:3}  {name:12} {numbers['value']:8.4f}"
    if name == OURS:
        line += f"  in [{numbers['lower']:.4f}, {numbers['upper']:.4f}]  W1 {result['truth']:.4f}"
    return f"{line}  cosine {numbers['cosine']:.3f}  {numbers['seconds']:.0f} s"
