"""Export a trained generator to one file that runs without this package.

    python examples/export_generator.py generator.bin

The file holds the program and its weights, lowered for CPU, CUDA and TPU. To use it:

    exported = jax.export.deserialize(open("generator.bin", "rb").read())
    samples = exported.call(jax.numpy.uint32(seed))
"""

import argparse
from pathlib import Path

import jax
import jax.numpy as jnp
import optax

from wgan_jax import MLP, Wasserstein, clip_weights, from_linen, gan, scan_steps, toy


def trained():
    model = gan(
        from_linen(MLP(features=(32,), output_shape=(2,))),
        from_linen(MLP(features=(32,))),
        Wasserstein(),
        generator_tx=optax.rmsprop(1e-3),
        critic_tx=optax.chain(optax.rmsprop(1e-3), clip_weights(0.1)),
        latent=lambda key, n: jax.random.normal(key, (n, 2)),
    )
    ring = toy.Ring()
    state = model.init(jax.random.key(0), ring(jax.random.key(1), 64))
    state, _ = scan_steps(model, n_critic=5, batch_size=64, length=50)(state, ring)
    return model, state


def main(path, n=100):
    model, state = trained()

    @jax.jit
    def sample(seed):
        return model.generate(state, jax.random.key(seed), n)

    platforms = ("cpu", "cuda", "tpu")
    exported = jax.export.export(sample, platforms=platforms)(jnp.uint32(0))
    Path(path).write_bytes(exported.serialize())
    print(f"{path}: {Path(path).stat().st_size} bytes, for {', '.join(platforms)}")
    return sample(jnp.uint32(7))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", help="file to write")
    main(parser.parse_args().path)
