"""Class-conditional WGAN-GP on CIFAR-10 with residual networks.

    python -m wgan_jax prepare cifar10
    python train.py --config configs/cifar10_conditional.py --workdir runs/cifar10
    python -m wgan_jax sample runs/cifar10 --label frog --out frogs.png

A folder of the images, with a subfolder for each class, also works:
`--dataset folder --dataset.path DIR --dataset.labels --dataset.held-out 0.1`.
For a GPU or TPU; `--dry-run` shows time and memory. The run has not been made here. On two cores
`--config configs/cifar10.py:non_saturating` with `--dataset.labels` is measured (docs/metrics.md).
"""

from wgan_jax.data.images import TFDS
from wgan_jax.experiment.config import Config
from wgan_jax.latents import Normal
from wgan_jax.networks import ResNetCritic, ResNetGenerator
from wgan_jax.penalties import GradientPenalty
from wgan_jax.transforms.optimizers import Adam


def get_config() -> Config:
    steps, image = 100_000, {"image_size": 32, "channels": 3}
    optimizer = Adam(learning_rate=2e-4, b1=0.0, b2=0.9, decay="linear", decay_iterations=steps)
    return Config(
        dataset=TFDS(name="cifar10", labels=True, **image),
        generator=ResNetGenerator(**image, num_classes=10),
        critic=ResNetCritic(**image, num_classes=10),
        clip=None,
        penalty=GradientPenalty(weight=10.0),
        latent=Normal(dim=128),
        generator_optimizer=optimizer,
        critic_optimizer=optimizer,
        steps=steps,
        evaluate_every=5_000,
        chunk=20,
    )
