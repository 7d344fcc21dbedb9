"""Unrolled GAN on the ring of 8 Gaussians: the generator looks 5 critic steps ahead.

    python train.py --config configs/ring_unrolled_gan.py

Seen with seed 0 on x86-64: 8 of 8 modes, 94.8% of the samples within three
standard deviations, exact W1 of 2,000 samples 1.49 times that between data and other
data (1: as far as other data); 172 s of processor time.
"""

from wgan_jax.data.toy import Ring
from wgan_jax.experiment.config import Config
from wgan_jax.latents import Normal
from wgan_jax.networks import MLP
from wgan_jax.objectives import JensenShannon
from wgan_jax.optimizers import Adam


def get_config() -> Config:
    steps = 6_000
    momentum = {"b1": 0.5, "b2": 0.999, "decay": "linear", "decay_iterations": steps}
    return Config(
        dataset=Ring(),
        generator=MLP(features=(128, 128, 128), output_shape=(2,)),
        critic=MLP(features=(64, 64, 64)),
        objective=JensenShannon(generator="minimax"),
        clip=None,
        latent=Normal(dim=2),
        generator_optimizer=Adam(learning_rate=1e-3, **momentum),
        critic_optimizer=Adam(learning_rate=3e-4, eps_root=1e-8, **momentum),
        n_critic=1,
        unrolled_steps=5,
        batch_size=256,
        steps=steps,
        chunk=100,
        log_every=100,
        sample_every=1_000,
        checkpoint_every=1_000,
    )
