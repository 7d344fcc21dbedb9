"""Three methods in the same twelve settings on Fashion-MNIST, and the number in which each trains.

The settings combine three generators (DCGAN, DCGAN with constant filters, four-layer MLP), batch
norm in both networks or in neither, and RMSProp or Adam with momentum 0.5. The critic is always
that of DCGAN, the learning rate 2e-4; the GAN takes one critic step, the others five. A run trains
if its Fréchet distance ends below a quarter of the untrained generator's.
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple

import numpy as np

from wgan_jax.experiment.config import Config
from wgan_jax.experiment.plots import to_pixels
from wgan_jax.objectives import JensenShannon, Wasserstein
from wgan_jax.penalties import GradientPenalty
from wgan_jax.reproduce.figure import Claim, Result, Settings, Table, draw_samples, pyplot
from wgan_jax.reproduce.garment_judge import Judge, fashion_mnist
from wgan_jax.reproduce.image_methods import image_config
from wgan_jax.reproduce.journal import ResultCache
from wgan_jax.reproduce.runs import train
from wgan_jax.transforms.optimizers import Adam, RMSProp

METHODS = ("GAN", "WGAN", "WGAN-GP")
LEARNED = 0.25  # of an untrained generator's Fréchet distance
_GENERATORS = {"DCGAN": "DCGAN", "constant": "constant filters", "MLP": "MLP"}
_RATE = 2e-4
_OPTIMIZERS: dict[str, Any] = {
    "RMSProp": RMSProp(learning_rate=_RATE),
    "Adam": Adam(learning_rate=_RATE, b1=0.5, b2=0.999),
}
_SHOWN = 16


class Setting(NamedTuple):
    """A setting to train in; `norm` is that of both networks, `batch` or `none`."""

    generator: str
    norm: str
    optimizer: str

    def __str__(self) -> str:
        norm = "batch norm" if self.norm == "batch" else "no norm"
        return f"{_GENERATORS[self.generator]}, {norm}, {self.optimizer}"


SETTINGS = [Setting(*s) for s in itertools.product(_GENERATORS, ("batch", "none"), _OPTIMIZERS)]


class Outcome(NamedTuple):
    """Fréchet distances of a run on features of a classifier, and its final samples.

    Attributes:
      untrained: distance before training.
      frechet: distances halfway and at the end; NaN if the run has diverged.
      samples: [16, 32, 32], pixels from 0 to 255.
    """

    untrained: float
    frechet: list[float]
    samples: list[Any]

    @property
    def trains(self) -> bool:
        return self.frechet[-1] < LEARNED * self.untrained


Outcomes = dict[tuple[Setting, str], list[Outcome]]


def run(settings: Settings) -> Result:
    sizes = {
        "filters": settings.by_size(2, 16, 64),
        "width": settings.by_size(8, 512),
        "steps": settings.by_size(2, 1_500, 20_000),
    }
    judged = settings.by_size(100, 2_500)
    cache = ResultCache(settings.cache_path, {**sizes, "judged": judged})
    dataset = fashion_mnist(settings)
    judge = Judge(dataset, settings.folder)

    def outcome(generator: str, norm: str, optimizer: str, method: str, seed: int) -> list[Any]:
        setting = Setting(generator, norm, optimizer)
        config = dataclasses.replace(config_of(setting, method, dataset, **sizes), seed=seed)
        history = train(config, snapshots=2, samples=judged, data=judge.data)
        start, *later = map(judge.frechet, history.samples)
        print(f"{method}, {setting}, seed {seed}: Fréchet {later[-1]:.3f}", flush=True)
        shown = to_pixels(history.samples[-1][:_SHOWN, ..., 0])
        return [start, later, shown.tolist()]

    outcomes = {
        (setting, method): [
            Outcome(*cache({**setting._asdict(), "method": method, "seed": seed}, outcome))
            for seed in range(settings.seeds or 1)
        ]
        for setting in settings.by_size(SETTINGS[-2:], SETTINGS)
        for method in METHODS
    }
    floor = judge.floor(judged)
    return Result(
        draw(outcomes, sizes["steps"]),
        {
            "features": judge.about(),
            "floor": floor,
            "iterations": sizes["steps"],
            "runs": [
                {
                    **setting._asdict(),
                    "method": method,
                    "seed": seed,
                    "frechet_untrained": result.untrained,
                    "frechet": result.frechet,
                }
                for (setting, method), several in outcomes.items()
                for seed, result in enumerate(several)
            ],
        },
        claims(outcomes),
        table(outcomes, floor),
        cache.earlier,
    )


def config_of(setting: Setting, method: str, dataset: Any, **sizes: Any) -> Config:
    """Return the config of `method` in a setting, with the sizes that `image_config` takes.

    A penalty on the slope at each sample is incompatible with batch norm, so WGAN-GP's critic
    has layer norm instead, as its paper recommends (section 4).
    """
    base: Any = image_config(
        "WGAN",
        dataset,
        generator=setting.generator,
        size=32,
        rate=_RATE,
        **sizes,
    )
    objective = JensenShannon() if method == "GAN" else Wasserstein()
    with_layers = method == "WGAN-GP" and setting.norm == "batch"
    return dataclasses.replace(
        base,
        generator=dataclasses.replace(base.generator, norm=setting.norm),
        critic=dataclasses.replace(base.critic, norm="layer" if with_layers else setting.norm),
        generator_optimizer=_OPTIMIZERS[setting.optimizer],
        critic_optimizer=_OPTIMIZERS[setting.optimizer],
        objective=objective,
        n_critic=1 if method == "GAN" else 5,
        clip=base.clip if method == "WGAN" else None,
        penalty=GradientPenalty(weight=10.0) if method == "WGAN-GP" else None,
    )


def shares(outcomes: Outcomes, **wanted: str) -> dict[str, tuple[int, int]]:
    """Return, by method, how many runs train and how many there are in matching settings."""
    counts = {}
    for method in METHODS:
        runs = [
            outcome.trains
            for (setting, m), several in outcomes.items()
            for outcome in several
            if m == method and wanted.items() <= setting._asdict().items()
        ]
        counts[method] = sum(runs), len(runs)
    return counts


def claims(outcomes: Outcomes) -> list[Claim]:
    trains = shares(outcomes)
    rmsprop, adam = (shares(outcomes, optimizer=name)["WGAN"] for name in ("RMSProp", "Adam"))
    evidence = ", ".join(f"{method} {_of(trains[method])}" for method in METHODS)
    return [
        Claim(
            f"WGAN trains in more settings than the GAN: more of its runs end below {LEARNED:.0%} "
            "of the untrained generator's Fréchet distance",
            trains["WGAN"] > trains["GAN"],
            evidence,
        ),
        Claim(
            "WGAN-GP trains in all of them",
            trains["WGAN-GP"][0] == trains["WGAN-GP"][1],
            _of(trains["WGAN-GP"]),
        ),
        Claim(
            "momentum does not help WGAN: Adam trains it in no more settings than RMSProp",
            adam[0] <= rmsprop[0],
            f"Adam {_of(adam)}, RMSProp {_of(rmsprop)}",
        ),
    ]


def _settings_of(outcomes: Outcomes) -> list[Setting]:
    return list(dict.fromkeys(setting for setting, _ in outcomes))


def _of(share: tuple[int, int]) -> str:
    return f"{share[0]} of {share[1]}"


def table(outcomes: Outcomes, floor: float) -> Table:
    def cell(several: list[Outcome]) -> str:
        return ", ".join(
            f"{outcome.frechet[-1]:.2f}" if outcome.trains else f"({outcome.frechet[-1]:.2f})"
            for outcome in several
        )

    rows = [
        [str(setting), *(cell(outcomes[setting, method]) for method in METHODS)]
        for setting in _settings_of(outcomes)
    ]
    trains = [_of(share) for share in shares(outcomes).values()]
    data = ["training images", *[f"{floor:.2f}"] * len(METHODS)]
    head = "Fréchet distance on LeNet features (in parentheses where it does not train)"
    return Table([head, *METHODS], [*rows, ["trains in", *trains], data])


def draw(outcomes: Outcomes, iterations: int) -> Any:
    plt, settings = pyplot(), _settings_of(outcomes)
    figure, panels = plt.subplots(
        len(METHODS), len(settings), figsize=(1.5 * len(settings), 5.6), layout="constrained"
    )
    for row, method in zip(panels, METHODS, strict=True):
        for ax, setting in zip(row, settings, strict=True):
            first = outcomes[setting, method][0]
            draw_samples(ax, np.asarray(first.samples) / 127.5 - 1)
            ax.set_xlabel(f"{first.frechet[-1]:.1f}{'' if first.trains else ': does not train'}")
        row[0].set_ylabel(method)
    for ax, setting in zip(panels[0], settings, strict=True):
        ax.set_title(str(setting).replace(", ", "\n"), fontsize=10)
    figure.suptitle(
        f"{iterations:,} generator iterations; Fréchet distance on LeNet features, seed 0"
    )
    return figure
