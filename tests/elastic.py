"""Script: resumes a run saved on 8 devices on 1, 2, 4 and 8; prints the results as JSON."""

import json
import shutil
import sys
from pathlib import Path

import jax
import numpy as np

from wgan_jax.experiment.checkpoint.manifest import to_host_arrays
from wgan_jax.experiment.config import Config
from wgan_jax.experiment.distributed.placement import make_sharding
from wgan_jax.experiment.run import open_run
from wgan_jax.experiment.train import train
from wgan_jax.networks import MLP

STEPS = 10


def config(steps, shard_state):
    return Config(
        generator=MLP(features=(256, 256), output_shape=(2,)),
        critic=MLP(features=(256, 256)),
        batch_size=32,
        n_critic=2,
        chunk=STEPS,
        log_every=STEPS,
        checkpoint_every=STEPS,
        steps=steps,
        shard_state=shard_state,
    )


def leaves(state):
    return [x.tobytes() for x in to_host_arrays(state)]


def params(state):
    found = jax.tree.leaves((state.critic.params, state.generator.params))
    return np.concatenate([np.asarray(x).ravel() for x in found])


def main(folder):
    saved = train(config(STEPS, True), folder / "8", devices=8).state
    restored = open_run(config(STEPS, True), folder / "8").state
    exact = [leaves(restored) == leaves(saved)]
    parts = {}
    for devices in (1, 2, 4, 8):
        for cut in (False, True):
            placement = make_sharding(config(STEPS, cut), devices)
            laid_out = placement.state(restored)
            exact.append(leaves(placement.gather(laid_out)) == leaves(saved))
            weights = jax.tree.leaves(laid_out.critic.params)
            parts[f"{devices}{' cut' * cut}"] = max(
                len({str(shard.index) for shard in x.addressable_shards}) for x in weights
            )
    ends = []
    for devices in (8, 1):
        shutil.copytree(folder / "8", folder / f"on {devices}")
        more = config(2 * STEPS, devices == 8)
        ends.append(params(train(more, folder / f"on {devices}", devices=devices).state))
    apart = float(np.abs(ends[0] - ends[1]).max() / np.abs(ends[0]).max())
    print(json.dumps({"exact": all(exact), "parts": parts, "apart": apart}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
