"""The paper's experiment: LSUN bedrooms at 64 pixels, DCGAN, RMSProp 5e-5, c = 0.01.

    tfds build lsun/bedroom --file_format=array_record      (needs TensorFlow, once)
    python train.py --config configs/lsun_bedroom.py

For a GPU or TPU. Tested up to the reader; the full run has not been made here.
"""

from wgan_jax.data.stream import TFDSStream
from wgan_jax.experiment.config import Clip, Config, Warmup
from wgan_jax.latents import Normal
from wgan_jax.networks import DCGANCritic, DCGANGenerator


def get_config() -> Config:
    return Config(
        dataset=TFDSStream(name="lsun/bedroom", image_size=64, channels=3),
        generator=DCGANGenerator(image_size=64, channels=3),
        critic=DCGANCritic(image_size=64, channels=3),
        clip=Clip(c=0.01),
        latent=Normal(dim=100),
        warmup=Warmup(),
        steps=200_000,
        chunk=10,
    )
