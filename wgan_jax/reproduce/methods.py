"""The methods that the toy figures compare, as configs."""

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
_AVERAGE = 0.99  # averages about 100 iterations; a longer average would lag in runs this short


def toy_methods(steps: int, dataset: Dataset | None = None) -> dict[str, Config]:
    """Return every method by name, with `steps` generator iterations each.

    GANs take one discriminator step per iteration and use Adam with momentum, as in
    their papers; critics take five steps. Learning rates decay to zero.
    """
    gan_adam = _adam(steps, 1e-3, b1=0.5, b2=0.999)
    fast_adam = _adam(steps, 2e-3)
    adam = _adam(steps, 1e-3)
    slow_adam = dataclasses.replace(gan_adam, learning_rate=3e-4, eps_root=1e-8)
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
        "GAN": method(gan_adam, objective=gan, n_critic=1),
        "minimax GAN": method(gan_adam, objective=minimax, n_critic=1),
        "Unrolled GAN": method(
            gan_adam, critic_optimizer=slow_adam, objective=minimax, n_critic=1, unrolled_steps=5
        ),
        "LSGAN": method(gan_adam, objective=LeastSquares(), n_critic=1),
        "DRAGAN": method(gan_adam, objective=gan, penalty=DRAGAN(), n_critic=1),
        "WGAN": method(rmsprop, clip=Clip(c=0.05)),
        "WGAN-GP": method(fast_adam, penalty=GradientPenalty(weight=0.1), ema_decay=_AVERAGE),
        "WGAN-LP": method(fast_adam, penalty=LipschitzPenalty(weight=1.0), ema_decay=_AVERAGE),
        "WGAN-div": method(adam, penalty=DivergencePenalty()),
        "CT-GAN": method(
            adam,
            critic=MLP(features=_CRITIC, dropout=0.1),
            penalty=Consistency(gradient_weight=0.1),
        ),
        "spectral norm": method(
            adam, critic=MLP(features=_CRITIC, spectral_norm=True), objective=Hinge()
        ),
        "GroupSort": method(adam, critic=GroupSort(features=(64, 64))),
    }


def best_toy_method(steps: int, dataset: Dataset) -> Config:
    """Return the method with the best mode coverage here.

    A deep generator can separate modes sharply; long averages, of the optimizers and
    of the weights, keep the modes in place.
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
