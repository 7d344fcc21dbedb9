"""A weight-clipped WGAN on the ring of 8 Gaussians.

python train.py
"""

from wgan_jax.data.toy import Ring
from wgan_jax.experiment.config import Clip, Config
from wgan_jax.latents import Normal
from wgan_jax.networks import MLP
from wgan_jax.optimizers import RMSProp


def get_config() -> Config:
    steps = 10_000
    optimizer = RMSProp(learning_rate=5e-4, decay="cosine", decay_iterations=steps)
    return Config(
        dataset=Ring(),
        generator=MLP(features=(128, 128, 128), output_shape=(2,)),
        critic=MLP(features=(128, 128, 128)),
        clip=Clip(c=0.05),
        latent=Normal(dim=2),
        generator_optimizer=optimizer,
        critic_optimizer=optimizer,
        batch_size=256,
        steps=steps,
        chunk=100,
        log_every=100,
        sample_every=1_000,
        checkpoint_every=1_000,
    )
