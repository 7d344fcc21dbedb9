"""Load generator weights from a PyTorch file, continue training, and write them back.

pip install safetensors
python examples/torch_weights.py dcgan.safetensors

PyTorch writes such a file with `safetensors.torch.save_file(network.state_dict(), path)` and
reads it with `network.load_state_dict(safetensors.torch.load_file(path))`.
"""

import argparse

import jax
import jax.numpy as jnp
import optax
from safetensors.numpy import load_file, save_file

from wgan_jax import DCGANCritic, DCGANGenerator, Wasserstein, clip_weights, from_linen, gan
from wgan_jax.networks import from_state_dict, to_state_dict

GENERATOR = DCGANGenerator(image_size=16, channels=1, filters=4)


def main(path):
    model = gan(
        from_linen(GENERATOR),
        from_linen(DCGANCritic(image_size=16, channels=1, filters=4)),
        Wasserstein(),
        generator_tx=(tx := optax.rmsprop(5e-5)),
        critic_tx=optax.chain(optax.rmsprop(5e-5), clip_weights(0.01)),
        latent=lambda key, n: jax.random.normal(key, (n, 100)),
    )
    real = jax.random.uniform(jax.random.key(1), (2, 8, 16, 16, 1), minval=-1.0)
    state = model.init(jax.random.key(0), real[0])

    params, stats = from_state_dict(GENERATOR, load_file(path))
    player = state.generator._replace(params=params, stats=stats, opt_state=tx.init(params))
    state, _ = model.train_step(state._replace(generator=player), real)

    like = load_file(path)  # the names and shapes that PyTorch expects
    written = to_state_dict(GENERATOR, state.generator.params, state.generator.stats, like=like)
    save_file(written, path)
    moved = max(float(jnp.abs(written[name] - like[name]).max()) for name in like)
    print(f"{len(written)} arrays; the largest change of one iteration is {moved:.2g}")
    return moved


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", help="file of a DCGAN generator: 16 pixels, 1 channel, 4 filters")
    main(parser.parse_args().path)
