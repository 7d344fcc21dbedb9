"""1,000 digits: the critic's loss on its training data and on held-out data.

One WGAN has the gradient penalty, the other weight clipping. Where a critic
overfits, its two curves diverge.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np

from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.data.dataset import DatasetConfig
from wgan_jax.data.images import Digits
from wgan_jax.experiment.config import Clip, Config
from wgan_jax.latents import Normal
from wgan_jax.networks import DCGANCritic, DCGANGenerator
from wgan_jax.objectives import Wasserstein
from wgan_jax.penalties import GradientPenalty
from wgan_jax.reproduce.figure import Claim, Result, Settings, pyplot
from wgan_jax.reproduce.runs import snapshots_of
from wgan_jax.transforms.optimizers import Adam, RMSProp
from wgan_jax.types import GANState, from_linen

_TRAIN = 1_000


@dataclasses.dataclass(frozen=True)
class FewDigits(DatasetConfig):
    """The first 1,000 digits; `rest` returns the others."""

    def open(self) -> ArrayDataset:
        return ArrayDataset(Digits(split="all").open().examples[:_TRAIN])

    @staticmethod
    def rest() -> ArrayDataset:
        return ArrayDataset(Digits(split="all").open().examples[_TRAIN:])


def run(settings: Settings) -> Result:
    steps, snapshots = settings.by_size(20, 8_000, 20_000), settings.by_size(2, 40)
    filters = settings.by_size(8, 32, 128)
    numbers: dict[str, Any] = {}
    for name, config in configs(steps, filters).items():
        numbers[name] = losses(config, snapshots)
        print(f"{name}: final gap {_gap(numbers[name]):.2f}", flush=True)
    return Result(draw(numbers), numbers, claims(numbers))


def configs(steps: int, filters: int) -> dict[str, Config]:
    base = Config(
        dataset=FewDigits(),  # type: ignore[arg-type]
        generator=DCGANGenerator(image_size=8, channels=1, filters=filters),
        critic=DCGANCritic(image_size=8, channels=1, filters=filters, norm="layer"),
        latent=Normal(dim=32),
        batch_size=64,
        steps=steps,
    )
    adam, rmsprop = Adam(learning_rate=2e-4), RMSProp(learning_rate=2e-4)
    return {
        "gradient penalty": dataclasses.replace(
            base,
            clip=None,
            penalty=GradientPenalty(weight=10.0),
            generator_optimizer=adam,
            critic_optimizer=adam,
        ),
        "weight clipping": dataclasses.replace(
            base, clip=Clip(c=0.05), generator_optimizer=rmsprop, critic_optimizer=rmsprop
        ),
    }


def losses(config: Config, snapshots: int) -> dict[str, list[float]]:
    """Return the negative critic loss on both subsets at each snapshot."""
    critic, objective = from_linen(config.critic), Wasserstein()
    splits = {"train": FewDigits().open().examples, "validation": FewDigits.rest().examples}
    images = {name: np.float32(x) / 127.5 - 1 for name, x in splits.items()}
    curves: dict[str, list[float]] = {"steps": [], "train": [], "validation": []}

    @jax.jit
    def scores(state: GANState, x: Any) -> Any:
        return critic.apply(state.critic.params, state.critic.stats, x, train=False)[0]

    for now in snapshots_of(config, snapshots=snapshots):
        fake = scores(now.state, now.gan.generate(now.state, jax.random.key(7), 1_000))
        curves["steps"].append(now.step)
        for name, x in images.items():
            curves[name].append(float(-objective.critic_loss(scores(now.state, x), fake)))
    return curves


def _gap(curve: dict[str, list[float]]) -> float:
    """Return the share of the training loss that is missing on validation data, late in a run."""
    late = len(curve["train"]) * 3 // 4
    seen, unseen = (float(np.mean(curve[name][late:])) for name in ("train", "validation"))
    return (seen - unseen) / max(abs(seen), 1e-12)


def claims(numbers: dict[str, Any]) -> list[Claim]:
    gaps = {name: _gap(curve) for name, curve in numbers.items()}
    penalized, clipped = gaps["gradient penalty"], gaps["weight clipping"]
    return [
        Claim(
            "with the gradient penalty the critic overfits 1,000 digits: its loss is worse on "
            "validation data",
            penalized > 0.1,
            f"its negative loss is {penalized:.0%} lower on validation data",
        ),
        Claim(
            "it overfits more than with weight clipping",
            penalized > clipped,
            f"under clipping it is {clipped:.0%} lower",
        ),
    ]


def draw(numbers: dict[str, Any]) -> Any:
    plt = pyplot()
    figure, panels = plt.subplots(1, 2, figsize=(10, 4.3), layout="constrained")
    for ax, (name, curve) in zip(panels, numbers.items(), strict=True):
        ax.plot(curve["steps"], curve["train"], color="#264653", label="the 1,000 training digits")
        ax.plot(curve["steps"], curve["validation"], color="#d1495b", label="797 held-out digits")
        ax.set(xlabel="generator iterations", ylabel="negative critic loss", title=name)
        settled = np.array([curve["train"], curve["validation"]])[:, len(curve["steps"]) // 5 :]
        ax.set_ylim(min(0, settled.min()), 1.6 * settled.max())
        ax.grid(alpha=0.3)
        ax.legend()
    figure.suptitle(
        "Where the curves diverge, the critic has memorized its training data\n"
        "(the initial peak is cut off)"
    )
    return figure
