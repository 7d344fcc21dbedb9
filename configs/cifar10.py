"""Five methods on CIFAR-10 at 32 pixels, with the settings of their papers.

    python -m wgan_jax prepare cifar10
    python train.py --config configs/cifar10.py:wgan_gp

    wgan             DCGAN, weights clipped to 0.01, RMSProp 5e-5 (the default)
    wgan_gp          residual networks, gradient norm pulled to 1, Adam 2e-4
    hinge            DCGAN with a spectrally normalized critic, hinge loss, Adam 2e-4
    non_saturating   DCGAN as a standard GAN, Adam 2e-4, weights averaged for sampling
    r3gan            residual networks without norms, pairs compared, gradient norm pulled to 0

A folder of the images also works: `--dataset folder --dataset.path DIR --dataset.held-out 0.1`.
For a GPU or TPU, except `non_saturating`: it takes a third of a second per iteration on one x86-64
core with AVX-512, and shows objects after 8,000 (docs/metrics.md). There `wgan` takes about a
second, and the residual networks several; `--dry-run` shows time and memory. None of these runs
has been made to its 100,000 iterations here.
"""

from typing import Any

from wgan_jax.data.images import TFDS
from wgan_jax.experiment.config import Clip, Config, Warmup
from wgan_jax.latents import Normal
from wgan_jax.networks import DCGANCritic, DCGANGenerator, ResNetCritic, ResNetGenerator
from wgan_jax.objectives import Hinge, JensenShannon, RelativisticPairing
from wgan_jax.penalties import GradientPenalty, ZeroCentered
from wgan_jax.transforms.optimizers import Adam

STEPS = 100_000
IMAGE = {"image_size": 32, "channels": 3}
DECAYING = Adam(learning_rate=2e-4, b1=0.0, b2=0.9, decay="linear", decay_iterations=STEPS)


def get_config(method: str = "wgan") -> Config:
    methods = {
        "wgan": cifar10(clip=Clip(c=0.01), warmup=Warmup()),
        "wgan_gp": cifar10(
            DECAYING,
            generator=ResNetGenerator(**IMAGE),
            critic=ResNetCritic(**IMAGE),
            latent=Normal(dim=128),
            penalty=GradientPenalty(weight=10.0),
        ),
        "hinge": cifar10(
            DECAYING,
            critic=DCGANCritic(**IMAGE, norm="none", spectral_norm=True),
            latent=Normal(dim=128),
            objective=Hinge(),
        ),
        "non_saturating": cifar10(
            Adam(learning_rate=2e-4, b1=0.5, b2=0.999),
            objective=JensenShannon(),
            n_critic=1,
            ema_decay=0.999,
        ),
        "r3gan": cifar10(
            Adam(learning_rate=2e-4, b1=0.0, b2=0.99),
            generator=ResNetGenerator(**IMAGE, norm="none"),
            critic=ResNetCritic(**IMAGE, norm="none"),
            objective=RelativisticPairing(),
            penalty=ZeroCentered(real_weight=0.05, fake_weight=0.05),
            n_critic=1,
            ema_decay=0.999,
        ),
    }
    if method not in methods:
        raise ValueError(f"method {method!r} is unknown; known: {', '.join(methods)}")
    return methods[method]


def cifar10(optimizer: Adam | None = None, **changes: Any) -> Config:
    """Return a config with the data, DCGAN networks and reporting that the methods share."""
    shared: dict[str, Any] = {
        "dataset": TFDS(name="cifar10", **IMAGE),
        "generator": DCGANGenerator(**IMAGE),
        "critic": DCGANCritic(**IMAGE),
        "clip": None,
        "latent": Normal(dim=100),
        "steps": STEPS,
        "evaluate_every": 5_000,
        "chunk": 20,
    }
    if optimizer is not None:
        shared |= {"generator_optimizer": optimizer, "critic_optimizer": optimizer}
    return Config(**shared | changes)
