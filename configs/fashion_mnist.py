"""The paper's WGAN at full size on Fashion-MNIST: DCGAN with 64 filters at 32 pixels.

    python -m wgan_jax prepare fashion_mnist
    python train.py --config configs/fashion_mnist.py

For a GPU or TPU. On two CPU cores an iteration takes about a third of a second and the full run
about nine hours; it has not been made. Use configs/fashion_mnist_small.py on a laptop.
"""

from wgan_jax.data.images import TFDS
from wgan_jax.experiment.config import Clip, Config, Warmup
from wgan_jax.latents import Normal
from wgan_jax.networks import DCGANCritic, DCGANGenerator


def get_config() -> Config:
    return Config(
        dataset=TFDS(name="fashion_mnist", image_size=32, channels=1),
        generator=DCGANGenerator(image_size=32, channels=1),
        critic=DCGANCritic(image_size=32, channels=1),
        clip=Clip(c=0.01),
        latent=Normal(dim=100),
        warmup=Warmup(),
        steps=100_000,
        evaluate_every=5_000,
        chunk=20,
    )
