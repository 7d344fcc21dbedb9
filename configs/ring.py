"""Thirteen methods on the ring of 8 Gaussians, with one pair of networks.

    python train.py --config configs/ring.py:wgan_gp

Measured with seed 0 on x86-64: modes reached, samples within three standard deviations of a mode,
exact W1 of 2,000 samples divided by that between data and other data (1: as far as other data),
and seconds of processor time.

    wgan_gp         8 of 8  97.4%  1.38  148 s    WGAN-GP: gradient norms are pulled to 1
    wgan_lp         8 of 8  97.4%  1.37  149 s    WGAN-LP: gradient norms above 1 are penalized
    wgan_div        8 of 8  96.5%  1.36  127 s    WGAN-div: their p-th power is penalized
    ct_gan          8 of 8  95.1%  1.27  164 s    CT-GAN: WGAN-GP with a consistency term
    groupsort       8 of 8  93.8%  1.22  151 s    a critic that is 1-Lipschitz by construction
    spectral_norm   8 of 8  94.2%  1.44  122 s    a spectrally normalized critic, hinge loss
    r3gan           8 of 8  96.1%  1.69   57 s    samples compared in pairs, gradients pulled to 0
    gan             6 of 8  97.9%  7.48   68 s    the standard GAN, non-saturating loss
    minimax_gan     8 of 8  92.2%  7.16   70 s    the standard GAN, minimax loss
    unrolled_gan    8 of 8  94.8%  1.49  172 s    the generator's loss unrolled over 5 critic steps
    dragan          8 of 8  94.5%  1.84   79 s    standard GAN, gradient norms near data pulled to 1
    least_squares   7 of 8  96.5%  5.19   73 s    least-squares GAN
    vae             8 of 8  67.0%  3.69   96 s    a VAE with the generator as its decoder
"""

from typing import Any

from wgan_jax.data.toy import Ring
from wgan_jax.experiment.config import Config
from wgan_jax.latents import Normal
from wgan_jax.networks import MLP, GroupSort
from wgan_jax.objectives import Hinge, JensenShannon, LeastSquares, RelativisticPairing
from wgan_jax.penalties import (
    DRAGAN,
    Consistency,
    DivergencePenalty,
    GradientPenalty,
    LipschitzPenalty,
    ZeroCentered,
)
from wgan_jax.transforms.optimizers import Adam
from wgan_jax.vae import EvidenceBound

WIDTHS = (64, 64, 64)
MINIMAX = JensenShannon(generator="minimax")


def get_config(method: str = "wgan_gp") -> Config:
    methods = {
        "wgan_gp": ring(adam(2e-3), penalty=GradientPenalty(weight=0.1)),
        "wgan_lp": ring(adam(2e-3), penalty=LipschitzPenalty(weight=1.0), ema_decay=0.999),
        "wgan_div": ring(adam(), penalty=DivergencePenalty()),
        "ct_gan": ring(
            adam(),
            critic=MLP(features=WIDTHS, dropout=0.1),
            penalty=Consistency(gradient_weight=0.1),
            batch_size=128,
        ),
        "groupsort": ring(adam(steps=5_000), critic=GroupSort(features=(64, 64))),
        "spectral_norm": ring(
            adam(), critic=MLP(features=WIDTHS, spectral_norm=True), objective=Hinge()
        ),
        "r3gan": ring(
            adam(b1=0.0, b2=0.99),
            objective=RelativisticPairing(),
            penalty=ZeroCentered(real_weight=0.1, fake_weight=0.1),
            n_critic=1,
        ),
        "gan": ring(adam(b1=0.5, b2=0.999), objective=JensenShannon(), n_critic=1),
        "minimax_gan": ring(adam(b1=0.5, b2=0.999), objective=MINIMAX, n_critic=1),
        "unrolled_gan": ring(
            adam(b1=0.5, b2=0.999, steps=6_000),
            critic_optimizer=adam(3e-4, b1=0.5, b2=0.999, eps_root=1e-8, steps=6_000),
            objective=MINIMAX,
            n_critic=1,
            unrolled_steps=5,
        ),
        "dragan": ring(adam(b1=0.5), objective=JensenShannon(), penalty=DRAGAN(), n_critic=1),
        "least_squares": ring(adam(b1=0.5, b2=0.999), objective=LeastSquares(), n_critic=1),
        "vae": ring(
            adam(b1=0.9, b2=0.999, steps=20_000),
            critic=MLP(features=(128, 128, 128), output_shape=(4,)),
            objective=EvidenceBound(observation_noise=0.15),
            n_critic=1,
        ),
    }
    if method not in methods:
        raise ValueError(f"method {method!r} is unknown; known: {', '.join(methods)}")
    return methods[method]


def ring(optimizer: Adam, **changes: Any) -> Config:
    """Return a config with the data, generator and reporting that the methods share."""
    shared: dict[str, Any] = {
        "dataset": Ring(),
        "generator": MLP(features=(128, 128, 128), output_shape=(2,)),
        "critic": MLP(features=WIDTHS),
        "clip": None,
        "latent": Normal(dim=2),
        "generator_optimizer": optimizer,
        "critic_optimizer": optimizer,
        "batch_size": 256,
        "steps": optimizer.decay_iterations,
    }
    return Config(**shared | changes)


def adam(rate: float = 1e-3, steps: int = 10_000, **moments: float) -> Adam:
    """Adam with a learning rate that decays linearly to zero over the run."""
    return Adam(learning_rate=rate, decay="linear", decay_iterations=steps, **moments)
