"""Tables of made-up people, written as text files, opened and trained on."""

import csv

import jax
import numpy as np

from wgan_jax import data

CITIES = ("Köln", "Paris", "São Paulo, SP")
NAMES = ["income", "age", "smoker", "city", "born", "rate", "height", "m0", "m1", "m2", "m3", "m4"]


def people(n, seed=0):
    """Rows of 12 columns in different units, as the texts of a table."""
    r = np.random.default_rng(seed)
    columns = {
        "income": [f"{x:.2f}" for x in r.lognormal(10, 0.5, n)],
        "age": [str(x) for x in r.integers(18, 91, n)],
        "smoker": [str(x) for x in r.random(n) < 0.25],
        "city": [CITIES[i] for i in r.choice(3, n, p=(0.5, 0.3, 0.2))],
        "born": [str(x) for x in r.integers(1_000_000_000, 1_700_000_000, n)],
        "rate": [f"{x:.8f}" for x in r.normal(0, 1e-5, n)],
        "height": [f"{x:.1f}" for x in r.normal(172, 9, n)],
    }
    columns |= {f"m{i}": [f"{x:.4f}" for x in r.normal(i, 1, n)] for i in range(5)}
    return columns


def write(path, columns, delimiter=",", encoding="utf-8"):
    with open(path, "w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
    return str(path)


def table(path, **options):
    return data.Table(path=str(path), **options)


def train(args):
    from wgan_jax.cli.common import run_command
    from wgan_jax.cli.train import train as command

    with jax.numpy_dtype_promotion("standard"):  # optax's Adam does not pass "strict"
        return run_command(command, args)
