"""The paper's settings on CIFAR-10: DCGAN at 32 pixels, RMSProp 5e-5, c = 0.01.

    python -m wgan_jax prepare cifar10
    python train.py --config configs/cifar10.py

For a GPU or TPU. Tested up to the reader; the run itself has not been made here.
"""

from wgan_jax.data.images import TFDS
from wgan_jax.experiment.config import Clip, Config, Warmup
from wgan_jax.latents import Normal
from wgan_jax.networks import DCGANCritic, DCGANGenerator


def get_config() -> Config:
    return Config(
        dataset=TFDS(name="cifar10", image_size=32, channels=3),
        generator=DCGANGenerator(image_size=32, channels=3),
        critic=DCGANCritic(image_size=32, channels=3),
        clip=Clip(c=0.01),
        latent=Normal(dim=100),
        warmup=Warmup(),
        steps=100_000,
        evaluate_every=5_000,
        chunk=20,
    )
