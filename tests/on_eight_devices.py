"""Script: prints how far runs on 8 devices deviate from the run on one, as JSON."""

import json

import jax
import numpy as np
import optax

from wgan_jax import (
    MLP,
    DCGANCritic,
    DCGANGenerator,
    GradientPenalty,
    Wasserstein,
    clip_weights,
    from_linen,
    gan,
    scan_steps,
    toy,
)
from wgan_jax.sharding import data_mesh, fsdp_state, replicated, shard_batches

_SHAPE = {"image_size": 8, "channels": 1, "filters": 8}
NETWORKS = {
    "mlp": (MLP(features=(256,), output_shape=(2,)), MLP(features=(256, 256))),
    "dcgan": (DCGANGenerator(**_SHAPE), DCGANCritic(**_SHAPE)),
}


def images(key, n):
    return jax.random.uniform(key, (n, 8, 8, 1), minval=-1.0)


def build(name, mesh, penalty=None):
    return gan(
        *map(from_linen, NETWORKS[name]),
        Wasserstein(),
        generator_tx=optax.rmsprop(1e-4),
        critic_tx=optax.chain(optax.rmsprop(1e-4), clip_weights(0.05)),
        latent=shard_batches(lambda key, n: jax.random.normal(key, (n, 4)), mesh),
        penalty=penalty,
    )


def penalized(devices):
    """The gradient penalty of one critic step."""
    mesh = data_mesh(jax.devices()[:devices])
    model = build("mlp", mesh, GradientPenalty(weight=1.0))
    real = shard_batches(toy.Ring(), mesh)(jax.random.key(1), 32)
    _, metrics = model.critic_step(replicated(model.init(jax.random.key(0), real), mesh), real)
    return float(metrics["critic/penalty"])


def trained(name, devices, place=replicated):
    """Losses of 50 generator iterations, the weights, and their largest number of shards."""
    mesh = data_mesh(jax.devices()[:devices])
    data = shard_batches(toy.Ring() if name == "mlp" else images, mesh)
    model = build(name, mesh)
    state = place(model.init(jax.random.key(0), data(jax.random.key(1), 32)), mesh)
    run, losses = scan_steps(model, n_critic=2, batch_size=32, length=10), []
    for _ in range(5):
        state, metrics = run(state, data)
        losses += np.asarray(metrics["critic/loss"]).tolist()
    leaves = jax.tree.leaves((state.critic.params, state.generator.params))
    parts = max(len({str(s.index) for s in x.addressable_shards}) for x in leaves)
    return np.array(losses), np.concatenate([np.asarray(x).ravel() for x in leaves]), parts


def apart(run, reference):
    (losses, params, parts), (wanted_losses, wanted_params, _) = run, reference
    return {
        "losses": float(np.abs(losses - wanted_losses).max() / np.abs(wanted_losses).max()),
        "params": float(np.abs(params - wanted_params).max() / np.abs(wanted_params).max()),
        "parts": parts,
    }


if __name__ == "__main__":
    mlp = trained("mlp", 1)
    found = {
        "mlp": apart(trained("mlp", 8), mlp),
        "cut": apart(trained("mlp", 8, fsdp_state), mlp),
        "dcgan": apart(trained("dcgan", 8), trained("dcgan", 1)),
        "penalty": abs(penalized(8) / penalized(1) - 1),
    }
    print(json.dumps(found))
