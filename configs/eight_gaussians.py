"""A weight-clipped WGAN on the ring of 8 Gaussians.

python train.py

Measured on two x86-64 cores without AVX-512: 59 s per run, of which training takes 22 s,
intermediate evaluations 11 s, and the start and the final evaluation the rest. Seeds 0 to 4 each
found 8 of 8 modes, with 93%, 92%, 91%, 92% and 94% of the samples within three standard deviations.
Exact W1 of 2,000 points was 0.094 on average, 1.37 times that between data and other data.
"""

from wgan_jax.data.toy import Ring
from wgan_jax.experiment.config import Clip, Config
from wgan_jax.latents import Normal
from wgan_jax.networks import MLP
from wgan_jax.transforms.optimizers import RMSProp


def get_config() -> Config:
    steps = 10_000
    optimizer = RMSProp(learning_rate=1e-3, decay="cosine", decay_iterations=steps)
    return Config(
        dataset=Ring(),
        generator=MLP(features=(128, 128, 128), output_shape=(2,)),
        critic=MLP(features=(64, 64, 64)),
        clip=Clip(c=0.05),
        latent=Normal(dim=2),
        generator_optimizer=optimizer,
        critic_optimizer=optimizer,
        batch_size=64,
        steps=steps,
        chunk=100,
        log_every=100,
        sample_every=2_500,
        evaluate_every=2_500,
        checkpoint_every=1_000,
    )
