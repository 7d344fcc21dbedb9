"""WGAN, WGAN-GP and the non-saturating GAN on Fashion-MNIST, judged without their critics.

    python benchmarks/image_quality.py [--data-dir DIR] [--steps N] [--out DIR]

Trains the small config with each method and seed, in DIR/METHOD-SEED, and prints means
over seeds with their standard deviation, next to real against real. Finished runs are not
repeated, so parts can run separately: --methods WGAN --seeds 0.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np

from wgan_jax.cli.flags import load
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.evaluation import transport
from wgan_jax.experiment.evaluation.features import default_features
from wgan_jax.experiment.evaluation.quality import feature_metrics
from wgan_jax.experiment.train import train
from wgan_jax.experiment.workdir import write_json
from wgan_jax.networks import DCGANCritic
from wgan_jax.objectives import JensenShannon
from wgan_jax.penalties import GradientPenalty
from wgan_jax.transforms.ema import with_ema
from wgan_jax.transforms.optimizers import Adam

CONFIG = Path(__file__).parents[1] / "configs" / "fashion_mnist_small.py"
COLUMNS = ("frechet/lenet", "kernel/lenet", "coverage/lenet", "w1/exact")


def configs(data_dir: str | None, steps: int) -> dict[str, Config]:
    base = load(CONFIG)
    dataset = dataclasses.replace(base.dataset, data_dir=data_dir)
    wgan = dataclasses.replace(
        base, dataset=dataset, steps=steps, sample_every=steps, checkpoint_every=steps
    )
    image = {"image_size": 32, "channels": 1, "filters": 16}
    gp_adam = Adam(learning_rate=2e-4, b1=0.0, b2=0.9)
    gan_adam = Adam(learning_rate=2e-4, b1=0.5, b2=0.999)
    return {
        "WGAN": wgan,
        "WGAN-GP": dataclasses.replace(
            wgan,
            critic=DCGANCritic(norm="layer", **image),
            clip=None,
            penalty=GradientPenalty(weight=10.0),
            generator_optimizer=gp_adam,
            critic_optimizer=gp_adam,
        ),
        "GAN": dataclasses.replace(
            wgan,
            objective=JensenShannon(),
            clip=None,
            n_critic=1,
            generator_optimizer=gan_adam,
            critic_optimizer=gan_adam,
        ),
    }


def judged(config: Config, folder: Path, points: int) -> dict[str, float]:
    """Train and measure, or load the saved result."""
    path = folder / "quality.json"
    if path.exists():
        return json.loads(path.read_text())
    start = time.perf_counter()
    run = train(config, folder)
    trained = time.perf_counter() - start
    state = with_ema(run.state)
    features = default_features(config.dataset, folder)
    names = ("frechet", "kernel", "coverage")
    result = feature_metrics(run.gan, state, run.data, features, names=names, points=points)
    result |= transport.evaluate(config, run.gan, state, run.data)
    result |= {"time/train": trained, "time/evaluate": time.perf_counter() - start - trained}
    write_json(path, result)
    return result


def floor_of(column: str) -> str:
    return "w1/floor" if column == "w1/exact" else f"{column}/floor"


def table(results: dict[str, list[dict[str, float]]]) -> str:
    rows = [f"| method | seeds | {' | '.join(COLUMNS)} | training, s |", "|---" * 7 + "|"]
    for method, runs in results.items():
        cells = []
        for column in COLUMNS:
            values = [run[column] for run in runs]
            deviation = f" ± {np.std(values, ddof=1):.2g}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.3g}{deviation}")
        seconds = np.mean([run["time/train"] for run in runs])
        rows.append(f"| {method} | {len(runs)} | {' | '.join(cells)} | {seconds:.0f} |")
    every = [run for runs in results.values() for run in runs]
    floors = (f"{np.mean([run[floor_of(column)] for run in every]):.3g}" for column in COLUMNS)
    rows.append(f"| real against real | {len(every)} | {' | '.join(floors)} | |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", help="folder of the prepared Fashion-MNIST")
    parser.add_argument("--steps", type=int, default=5_000, help="generator iterations")
    parser.add_argument("--points", type=int, default=5_000, help="number of samples of each kind")
    parser.add_argument("--methods", nargs="+", default=["WGAN", "WGAN-GP", "GAN"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/image_quality"))
    arguments = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {}
    for seed in arguments.seeds:
        for method in arguments.methods:
            config = configs(arguments.data_dir, arguments.steps)[method]
            config = dataclasses.replace(config, seed=seed)
            folder = arguments.out / f"{method}-{seed}"
            results.setdefault(method, []).append(judged(config, folder, arguments.points))
            print(f"{method}-{seed}", json.dumps(results[method][-1]), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
