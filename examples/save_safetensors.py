"""Save generator weights as safetensors, a format that holds arrays and no executable code.

pip install safetensors
python examples/save_safetensors.py generator.safetensors
"""

import argparse

import jax
import jax.numpy as jnp
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.flax import load_file, save_file

from wgan_jax import DCGANGenerator, from_linen


def save(path, player):
    """Save parameters and running statistics under names such as `params/Dense_0/kernel`."""
    save_file(flatten_dict({"params": player[0], "stats": player[1]}, sep="/"), path)


def load(path):
    tree = unflatten_dict(load_file(path), sep="/")
    return tree["params"], tree.get("stats", {})  # an MLP has none


def main(path):
    generator = from_linen(DCGANGenerator(image_size=16, channels=1, filters=4))
    z = jax.random.normal(jax.random.key(1), (3, 100))
    player = jax.jit(generator.init)(jax.random.key(0), z)
    save(path, player)
    restored = load(path)
    images = jax.jit(lambda params, stats: generator.apply(params, stats, z, train=False)[0])
    before, after = images(*player), images(*restored)
    same = bool(jnp.array_equal(before, after))
    names = sorted(load_file(path))
    print(f"{len(names)} arrays, {names[0]} first; the images are the same: {same}")
    return names, same


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", help="file to write")
    main(parser.parse_args().path)
