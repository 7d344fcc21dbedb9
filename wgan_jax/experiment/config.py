"""The config of an experiment: a frozen tree of dataclasses.

Networks, objectives, optimizers and data sets are nodes of the tree.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import jax

from wgan_jax.data.folder import Folder
from wgan_jax.data.huggingface import HuggingFace
from wgan_jax.data.images import TFDS, Digits
from wgan_jax.data.own_arrays import Arrays
from wgan_jax.data.stream import TFDSStream
from wgan_jax.data.table import Table
from wgan_jax.data.toy import Grid, Ring, SwissRoll
from wgan_jax.experiment.loggers.logger import logger_names
from wgan_jax.latents import Normal, Uniform
from wgan_jax.networks import (
    MLP,
    Cones,
    DCGANCritic,
    DCGANGenerator,
    GroupSort,
    ResNetCritic,
    ResNetGenerator,
)
from wgan_jax.objectives import (
    Hinge,
    JensenShannon,
    LeastSquares,
    RelativisticPairing,
    Wasserstein,
)
from wgan_jax.penalties import (
    DRAGAN,
    Consistency,
    DivergencePenalty,
    GradientPenalty,
    LipschitzPenalty,
    ZeroCentered,
)
from wgan_jax.transforms.optimizers import SGD, Adam, RMSProp
from wgan_jax.vae import EvidenceBound

Dataset = (
    Ring  # the default
    | Grid
    | SwissRoll
    | Digits
    | TFDS
    | TFDSStream
    | Folder
    | HuggingFace
    | Arrays
    | Table
)
Optimizer = RMSProp | Adam | SGD
Generator = (
    MLP  # the default of both players
    | DCGANGenerator
    | ResNetGenerator
)
Critic = MLP | DCGANCritic | ResNetCritic | GroupSort | Cones
Objective = Wasserstein | JensenShannon | LeastSquares | Hinge | RelativisticPairing | EvidenceBound
Penalty = (
    GradientPenalty  # WGAN-GP
    | LipschitzPenalty  # WGAN-LP
    | DRAGAN
    | DivergencePenalty  # WGAN-div
    | ZeroCentered  # R1 and R2
    | Consistency  # CT-GAN
)
_MAX_MEMBERS = 2**16
NonFinite = Literal["stop", "skip"]
StopWhen = Literal["steps", "plateau"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Clip:
    """The paper's constraint on the critic: every weight in [-c, c]."""

    c: float = 0.01
    """Bound on the absolute value of each of the critic's weights."""
    before_step: bool = False
    """Clip before each critic step, as the reference code does, instead of after it."""
    exempt_norms: bool = False
    """Leave scales and shifts of normalization layers unclipped; the reference code clips them."""

    def __post_init__(self) -> None:
        if not isinstance(self.c, jax.core.Tracer) and not self.c > 0:
            raise ValueError(f"clip.c must be positive, got {self.c}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Warmup:
    """Generator iterations with more critic steps, so that the critic starts near its optimum."""

    n_critic: int = 100
    """Critic steps per generator iteration during warm-up."""
    first: int = 25
    """Generator iterations of the warm-up at the start."""
    every: int = 500
    """Repeat the warm-up in every iteration divisible by this number; 0 for never."""

    def __post_init__(self) -> None:
        if self.n_critic < 1 or self.first < 0 or self.every < 0:
            raise ValueError(
                f"warmup needs n_critic >= 1, first >= 0 and every >= 0, got n_critic="
                f"{self.n_critic}, first={self.first}, every={self.every}"
            )

    def covers(self, iteration: int) -> bool:
        return iteration < self.first or (self.every > 0 and iteration % self.every == 0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adaptive:
    """Adaptive number of critic steps: train the critic until it reaches its plateau."""

    block: int = 5
    """Critic steps between checks for the plateau."""
    most: int = 100
    """Maximum number of critic steps per generator iteration."""
    tolerance: float = 0.05
    """Relative improvement of the estimate between checks below which the critic is at its
    plateau."""

    def __post_init__(self) -> None:
        if self.block < 1 or self.most < 2 * self.block or not self.tolerance >= 0:
            raise ValueError(
                f"adaptive needs block >= 1, most >= 2 block and tolerance >= 0, got block="
                f"{self.block}, most={self.most}, tolerance={self.tolerance}"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sweep:
    """Many runs in one program: every seed with every combination of the listed values.

    An empty list keeps the config's own value in all runs.
    """

    seeds: int = 4
    """Number of consecutive seeds, starting at the config's `seed`."""
    learning_rates: tuple[float, ...] = ()
    """Learning rates to try for both players."""
    generator_learning_rates: tuple[float, ...] = ()
    """Learning rates to try for the generator alone."""
    critic_learning_rates: tuple[float, ...] = ()
    """Learning rates to try for the critic alone."""
    clip_values: tuple[float, ...] = ()
    """Values to try for clip.c."""
    penalty_weights: tuple[float, ...] = ()
    """Penalty weights to try."""

    def __post_init__(self) -> None:
        lists = [self.generator_learning_rates, self.critic_learning_rates]
        lists += [self.learning_rates, self.clip_values, self.penalty_weights]
        members = math.prod(len(values) or 1 for values in lists) * self.seeds
        if self.seeds < 1:
            raise ValueError(f"sweep.seeds must be at least 1, got {self.seeds}")
        if members > _MAX_MEMBERS:
            raise ValueError(
                f"a sweep has at most {_MAX_MEMBERS:,} members, got {members} of "
                f"sweep.seeds {self.seeds}"
            )
        rates = self.generator_learning_rates + self.critic_learning_rates
        if self.learning_rates and rates:
            raise ValueError(
                "sweep.learning_rates applies to both players: give either it or one list for "
                "each player"
            )
        if not all(v > 0 for v in self.learning_rates + rates + self.clip_values):
            raise ValueError("learning rates and clip values of a sweep must be positive")
        if not all(v >= 0 for v in self.penalty_weights):
            raise ValueError("penalty weights of a sweep must not be negative")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config:
    """Config of an experiment. The defaults follow algorithm 1 of the paper."""

    dataset: Dataset = Ring()
    """Data set of real samples."""
    generator: Generator = MLP(output_shape=(2,))
    """Network that maps latents to samples."""
    critic: Critic = MLP()
    """Network that scores samples; the encoder of a VAE with the evidence bound."""
    objective: Objective = Wasserstein()
    """Losses of the critic and the generator; the evidence bound trains a VAE."""
    penalty: Penalty | None = None
    """Term added to the critic's loss, usually in place of clipping."""
    clip: Clip | None = Clip()
    """Weight clipping of the critic."""
    latent: Normal | Uniform = Normal()
    """Distribution of the generator's input."""
    generator_optimizer: Optimizer = RMSProp()
    """Optimizer of the generator."""
    critic_optimizer: Optimizer = RMSProp()
    """Optimizer of the critic."""
    n_critic: int = 5
    """Critic steps per generator iteration."""
    unrolled_steps: int = 0
    """Critic steps to unroll the generator's loss over; 0 for a plain GAN."""
    warmup: Warmup | None = None
    """Critic warm-up: extra steps at the start and periodically, as in the paper's code."""
    adaptive: Adaptive | None = None
    """Train the critic until it stops improving, instead of for n_critic steps."""
    batch_size: int = 64
    """Samples per step."""
    steps: int = 100_000
    """Number of generator iterations to train for."""
    seed: int = 0
    """Seed of all random number generation."""
    sweep: Sweep | None = None
    """Runs over seeds and hyperparameters, trained together in one program."""
    non_finite: NonFinite = "stop"
    """Reaction to a non-finite gradient: stop, or skip the step and count it."""
    ema_decay: float = 0.0
    """Decay of the moving average of generator weights used for samples; 0 for no average."""
    shard_state: bool = False
    """Shard large weights and optimizer states over the devices instead of replicating them."""
    chunk: int = 100
    """Maximum number of generator iterations per dispatch; signals are handled between
    dispatches."""
    log_every: int = 100
    """Generator iterations between lines of metrics.jsonl."""
    sample_every: int = 1_000
    """Generator iterations between images of samples."""
    stop_when: StopWhen = "steps"
    """End of training: after all `steps`, or at a plateau of W1, when none of the last five
    evaluations is 1% below the best one before them (needs `evaluate_every`)."""
    evaluate_every: int = 0
    """Generator iterations between evaluations of W1 and the critic; 0 to evaluate at the end."""
    checkpoint_every: int = 1_000
    """Generator iterations between checkpoints."""
    keep_checkpoints: int = 3
    """Number of most recent checkpoints to keep."""
    class_counts: tuple[int, ...] = ()
    """Examples per class, filled in from labeled data when a run starts; generated samples get
    labels in these proportions."""
    log: str = ""
    """Additional loggers, separated by commas: tensorboard, wandb (each needs the extra of the same
    name), or the import path of your own logger, package.module:Class."""
    tensorboard: bool = False
    """Former name of --log tensorboard."""

    def __post_init__(self) -> None:
        counts = ("n_critic", "batch_size", "steps", "chunk", "log_every", "sample_every")
        for name in (*counts, "checkpoint_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.evaluate_every < 0:
            raise ValueError(f"evaluate_every must not be negative, got {self.evaluate_every}")
        if self.adaptive is not None and self.warmup is not None:
            raise ValueError("adaptive chooses the critic's steps itself: set --warmup none")
        if self.stop_when not in ("steps", "plateau"):
            raise ValueError(f"stop_when must be steps or plateau, got {self.stop_when!r}")
        if self.stop_when == "plateau" and (self.evaluate_every == 0 or self.sweep is not None):
            raise ValueError(
                "stop_when plateau needs evaluations of one run: set evaluate_every, and no sweep"
            )
        if self.unrolled_steps < 0:
            raise ValueError(f"unrolled_steps must not be negative, got {self.unrolled_steps}")
        if self.non_finite not in ("stop", "skip"):
            raise ValueError(f"non_finite must be stop or skip, got {self.non_finite!r}")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay must be in [0, 1), got {self.ema_decay}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be between 0 and 2^32 - 1, got {self.seed}")
        if self.sweep is not None and self.seed + self.sweep.seeds > 2**32:
            raise ValueError(
                f"the seeds of a sweep must be at most 2^32 - 1, got {self.sweep.seeds} from "
                f"{self.seed} on"
            )
        logger_names(self.log)

    @property
    def num_classes(self) -> int:
        """Number of classes that the generator takes; 0 if it takes none."""
        return getattr(self.generator, "num_classes", 0)

    @property
    def condition_dim(self) -> int:
        """Length of the condition vectors that the generator takes; 0 if it takes none."""
        return getattr(self.generator, "condition_dim", 0)

    @property
    def loggers(self) -> tuple[str, ...]:
        """Names or import paths of the run's loggers."""
        return logger_names(f"{self.log},tensorboard" if self.tensorboard else self.log)


# Fields that may change when a run resumes: its length, and how it is executed and monitored.
OPERATIONAL = frozenset(
    {
        "steps",
        "stop_when",
        "shard_state",
        "chunk",
        "log_every",
        "sample_every",
        "evaluate_every",
        "checkpoint_every",
        "keep_checkpoints",
        "class_counts",
        "log",
        "tensorboard",
        "non_finite",
    }
)
