"""Accuracy of `estimate_w1`, and validity of its bounds, on pairs with known W1.

    python benchmarks/w1_table.py [--only SUBSTRING ...] [--seed S] [--data-dir DIR]

The 28 funnel pairs follow the recipe of Wasserstein1Benchmark; the other rows have
other shapes. A folder of prepared data sets adds two rows on Fashion-MNIST. All rows
use the default settings of `estimate_w1`.
"""

from __future__ import annotations

import argparse
import math
import time

import jax
import jax.numpy as jnp
import numpy as np

from wgan_jax import distances, toy
from wgan_jax.data.funnels import Funnels
from wgan_jax.estimate import estimate_w1

_NO_CLOSED_FORM = ("ring", "fashion-rolled")


def gaussian(dim, std):
    return lambda key, n: std * jax.random.normal(key, (n, dim))


def sphere(dim, radius):
    def sample(key, n):
        z = jax.random.normal(key, (n, dim))
        return radius * z / jnp.linalg.norm(z, axis=1, keepdims=True)

    return sample


def mixture(dim, shift):
    centers = jnp.asarray(np.random.default_rng(dim).normal(size=(5, dim)) * 2, jnp.float32)
    move = jnp.full((1, dim), shift / math.sqrt(dim))

    def sample(key, n):
        which, where = jax.random.split(key)
        mode = jax.random.randint(which, (n,), 0, 5)
        return centers[mode] + 0.3 * jax.random.normal(where, (n, dim)) + move

    return sample


def ring_against_grid(key):
    """Return exact W1 of 4,000 samples less its floor, below the truth: no closed form exists."""
    a, b, c = jax.random.split(key, 3)
    ring, grid = toy.Ring(), toy.Grid()
    exact = distances.exact_w1(ring(a, 4000), grid(b, 4000))
    return exact - distances.w1_floor(grid, 4000, c)


def fashion(data_dir):
    """Return one half of Fashion-MNIST against the other half, moved in two ways.

    Brightening each pixel by 0.1 is a translation of length 0.1 sqrt(784); W1 after
    rolling by two pixels has no closed form.
    """
    from wgan_jax.data.images import TFDS

    pixels = TFDS(name="fashion_mnist", image_size=28, channels=1, data_dir=data_dir)
    images = np.asarray(pixels.open().examples, np.float32) / 127.5 - 1
    images = np.random.default_rng(0).permutation(images)
    left, right = images[:30_000], images[30_000:]
    rolled = np.roll(right, 2, axis=2)

    def less_the_floor(key):
        flat = [x[:4_000].reshape(4_000, -1) for x in (left, rolled, right)]
        return distances.exact_w1(flat[0], flat[1]) - distances.exact_w1(flat[0], flat[2])

    return {
        "fashion-brighter d784": (left, right + np.float32(0.1), lambda k: 0.1 * 784**0.5),
        "fashion-rolled d784": (left, rolled, less_the_floor),
    }


def cases(seed):
    """Return name -> (p, q, truth as a function of a key)."""
    table = {}
    for dim in (2, 4, 8, 16, 32, 64, 128):
        for count in (4, 16, 64, 256):
            pair = Funnels.draw(dim, count, seed)
            table[f"funnels d{dim} w{count}"] = pair, pair.target, lambda k, f=pair: f.w1(k)[0]
    for dim in (2, 4, 16, 64):
        for std in (1.5, 3.0):
            w1 = distances.w1_gaussians(dim, 1.0, std)
            row = gaussian(dim, 1.0), gaussian(dim, std), lambda k, w=w1: w
            table[f"gaussians d{dim} s{std}"] = row
    for dim in (2, 16, 64):
        row = mixture(dim, 0.0), mixture(dim, 1.0), lambda k: 1.0
        table[f"translation d{dim}"] = row
        table[f"spheres d{dim}"] = sphere(dim, 1.0), sphere(dim, 2.0), lambda k: 1.0
    table["gaussians reversed d16"] = (
        gaussian(16, 3.0),
        gaussian(16, 1.0),
        lambda k: distances.w1_gaussians(16, 3.0, 1.0),
    )
    table["ring grid d2"] = toy.Ring(), toy.Grid(), ring_against_grid
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", help="only rows whose name contains one of these")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data-dir", help="folder of prepared data sets, for two more rows")
    arguments = parser.parse_args()
    table = cases(arguments.seed)
    if arguments.data_dir:
        table |= fashion(arguments.data_dir)
    print(
        f"{'pair':24} {'truth':>8} {'value':>8} {'lower':>8} {'upper':>8} "
        f"{'error':>7} {'lower/W1':>8} {'holds':>5} {'conv':>5} {'s':>5}"
    )
    errors, ratios = {}, {}
    for row, (name, (p, q, truth)) in enumerate(table.items()):
        if arguments.only and not any(part in name for part in arguments.only):
            continue
        for_truth, for_estimate = jax.random.split(jax.random.key(1000 * arguments.seed + row))
        w1 = float(truth(for_truth))
        start = time.perf_counter()
        e = estimate_w1(p, q, key=for_estimate)
        seconds = time.perf_counter() - start
        error, ratio = e.value / w1 - 1, e.lower / w1
        family = name.split()[0]
        errors.setdefault(family, []).append(abs(error))
        ratios.setdefault(family, []).append(ratio)
        holds = "yes" if e.lower <= w1 <= e.upper else "NO"
        if family in _NO_CLOSED_FORM:
            holds = "-"
        print(
            f"{name:24} {w1:8.4f} {e.value:8.4f} {e.lower:8.4f} {e.upper:8.4f} {error:+7.2%} "
            f"{ratio:8.2%} {holds:>5} {'yes' if e.converged else 'no':>5} {seconds:5.0f}",
            flush=True,
        )
    for family, found in errors.items():
        print(
            f"{family}: mean error {np.mean(found):.2%}, worst {max(found):.2%}, "
            f"smallest lower/W1 {min(ratios[family]):.2%} over {len(found)} rows"
        )


if __name__ == "__main__":
    main()
