"""CT-GAN on the ring of 8 Gaussians: WGAN-GP with its consistency term.

    python train.py --config configs/ring_ct_gan.py

Seen with seed 0 on x86-64: 8 of 8 modes, 95.1% of the samples within three
standard deviations, exact W1 of 2,000 samples 1.27 times that between data and other
data (1: as far as other data); 164 s of processor time.
"""

from wgan_jax.data.toy import Ring
from wgan_jax.experiment.config import Config
from wgan_jax.latents import Normal
from wgan_jax.networks import MLP
from wgan_jax.optimizers import Adam
from wgan_jax.penalties import Consistency


def get_config() -> Config:
    steps = 10_000
    optimizer = Adam(learning_rate=1e-3, decay="linear", decay_iterations=steps)
    return Config(
        dataset=Ring(),
        generator=MLP(features=(128, 128, 128), output_shape=(2,)),
        critic=MLP(features=(64, 64, 64), dropout=0.1),
        penalty=Consistency(gradient_weight=0.1),
        clip=None,
        latent=Normal(dim=2),
        generator_optimizer=optimizer,
        critic_optimizer=optimizer,
        n_critic=5,
        batch_size=128,
        steps=steps,
        chunk=100,
        log_every=100,
        sample_every=1_000,
        checkpoint_every=1_000,
    )
