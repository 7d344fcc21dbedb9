"""The methods that toy figures compare, as configs on one pair of networks."""

from __future__ import annotations

import dataclasses
from typing import Any

from wgan_jax.data.toy import Ring
from wgan_jax.experiment.config import Clip, Config, Dataset
from wgan_jax.latents import Normal
from wgan_jax.networks import MLP, GroupSort
from wgan_jax.objectives import Hinge, JensenShannon, LeastSquares
from wgan_jax.penalties import (
    DRAGAN,
    Consistency,
    DivergencePenalty,
    GradientPenalty,
    LipschitzPenalty,
)
from wgan_jax.transforms.optimizers import Adam, Decay, RMSProp

_CRITIC = (64, 64, 64)
_AVERAGE = 0.99  # over 100 iterations: short beside the run, or the average lags behind it


def toy_methods(steps: int, dataset: Dataset | None = None) -> dict[str, Config]:
    """Every method by name, `steps` generator iterations each, learning rates falling to zero.

    The GANs take one discriminator step per iteration and Adam with momentum, as
    their papers do; critics take five.
    """
    slow = _adam(steps, 1e-3, b1=0.5, b2=0.999)
    fast = _adam(steps, 2e-3)
    calm = _adam(steps, 1e-3)
    ahead = dataclasses.replace(slow, learning_rate=3e-4, eps_root=1e-8)
    rmsprop = RMSProp(learning_rate=1e-3, decay="cosine", decay_iterations=steps)
    base = Config(
        dataset=dataset or Ring(),
        generator=MLP(features=(128, 128, 128), output_shape=(2,)),
        critic=MLP(features=_CRITIC),
        clip=None,
        latent=Normal(dim=2),
        batch_size=100,
        steps=steps,
    )

    def method(optimizer: Adam | RMSProp, **changes: Any) -> Config:
        optimizers = {"generator_optimizer": optimizer, "critic_optimizer": optimizer}
        return dataclasses.replace(base, **optimizers | changes)

    gan, minimax = JensenShannon(), JensenShannon(generator="minimax")
    return {
        "GAN": method(slow, objective=gan, n_critic=1),
        "minimax GAN": method(slow, objective=minimax, n_critic=1),
        "Unrolled GAN": method(
            slow, critic_optimizer=ahead, objective=minimax, n_critic=1, unrolled_steps=5
        ),
        "LSGAN": method(slow, objective=LeastSquares(), n_critic=1),
        "DRAGAN": method(slow, objective=gan, penalty=DRAGAN(), n_critic=1),
        "WGAN": method(rmsprop, clip=Clip(c=0.05)),
        "WGAN-GP": method(fast, penalty=GradientPenalty(weight=0.1), ema_decay=_AVERAGE),
        "WGAN-LP": method(fast, penalty=LipschitzPenalty(weight=1.0), ema_decay=_AVERAGE),
        "WGAN-div": method(calm, penalty=DivergencePenalty()),
        "CT-GAN": method(
            calm,
            critic=MLP(features=_CRITIC, dropout=0.1),
            penalty=Consistency(gradient_weight=0.1),
        ),
        "spectral norm": method(
            calm, critic=MLP(features=_CRITIC, spectral_norm=True), objective=Hinge()
        ),
        "GroupSort": method(calm, critic=GroupSort(features=(64, 64))),
    }


def best_toy_method(steps: int, dataset: Dataset) -> Config:
    """The method that covers mixtures best here.

    A deep generator makes the steep cuts between modes; a long memory of the
    optimizers and of the weights' average keeps their places still.
    """
    optimizer = _adam(steps, 2e-3, b2=0.99)
    return dataclasses.replace(
        toy_methods(steps, dataset)["WGAN-GP"],
        generator=MLP(features=(128,) * 6, output_shape=(2,)),
        generator_optimizer=optimizer,
        critic_optimizer=optimizer,
        batch_size=128,
        ema_decay=0.999,
    )


def _adam(steps: int, rate: float, b1: float = 0.0, b2: float = 0.9, decay: Decay = "linear"):
    return Adam(learning_rate=rate, b1=b1, b2=b2, decay=decay, decay_iterations=steps)
