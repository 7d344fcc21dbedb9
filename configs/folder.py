"""WGAN-GP with DCGAN on a folder of your own images; the default config of `--dataset folder`.

    python train.py --dataset folder --dataset.path pictures --dataset.labels

The networks take their size and channels from `--dataset.image-size` and `--dataset.channels`, and
the number of classes from labeled images.
"""

from wgan_jax.data.folder import Folder
from wgan_jax.experiment.config import Config
from wgan_jax.latents import Normal
from wgan_jax.networks import DCGANCritic, DCGANGenerator
from wgan_jax.penalties import GradientPenalty
from wgan_jax.transforms.optimizers import Adam


def get_config() -> Config:
    optimizer = Adam(learning_rate=1e-4)
    return Config(
        dataset=Folder(),
        generator=DCGANGenerator(image_size=32),
        critic=DCGANCritic(image_size=32, norm="layer"),
        clip=None,
        penalty=GradientPenalty(weight=10.0),
        latent=Normal(dim=100),
        generator_optimizer=optimizer,
        critic_optimizer=optimizer,
        steps=100_000,
        chunk=20,
        evaluate_every=5_000,
        ema_decay=0.999,
    )
