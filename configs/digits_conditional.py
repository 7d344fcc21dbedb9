"""Class-conditional WGAN-GP on 8 x 8 handwritten digits: both players receive the label.

    python train.py --config configs/digits_conditional.py

Measured with seed 0 on x86-64: exact W1 2.69 for 750 samples, and 2.58 between 750 examples of the
data and 750 others; 109 s of processor time.
"""

from wgan_jax.data.images import Digits
from wgan_jax.experiment.config import Config
from wgan_jax.latents import Normal
from wgan_jax.networks import DCGANCritic, DCGANGenerator
from wgan_jax.penalties import GradientPenalty
from wgan_jax.transforms.optimizers import Adam


def get_config() -> Config:
    steps = 1_500
    optimizer = Adam(learning_rate=5e-4, decay="linear", decay_iterations=steps)
    image = {"image_size": 8, "channels": 1, "filters": 32, "extra_layers": 1, "num_classes": 10}
    return Config(
        dataset=Digits(labels=True),
        generator=DCGANGenerator(**image),
        critic=DCGANCritic(**image, norm="layer"),
        penalty=GradientPenalty(weight=10.0),
        clip=None,
        latent=Normal(dim=32),
        generator_optimizer=optimizer,
        critic_optimizer=optimizer,
        n_critic=2,
        batch_size=64,
        steps=steps,
        chunk=50,
        log_every=50,
        sample_every=500,
        checkpoint_every=500,
    )
