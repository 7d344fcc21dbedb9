"""The scanned train step of a DCGAN against a Python loop over jitted critic steps.

    python -m benchmarks.scan_vs_loop [W3 | W4] [--rounds N] [--clock wall | cpu]

Both run one generator iteration with n_critic = 5 from the same state and data,
in interleaved rounds; the output is their medians and ratio.
"""

import argparse
import statistics
import time

import jax
import jax.numpy as jnp
import optax

from benchmarks.speed.ours import networks
from benchmarks.speed.workloads import N_CRITIC, WORKLOADS
from wgan_jax import Wasserstein, clip_weights, from_linen, gan
from wgan_jax.transforms.optimizers import RMSProp


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workload", nargs="?", choices=["W3", "W4"], default="W3")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.clock == "cpu" else time.perf_counter
    workload = WORKLOADS[arguments.workload]
    (pixels, channels, _), batch = workload.image, workload.batch
    model = gan(
        *map(from_linen, networks(workload)),
        Wasserstein(),
        generator_tx=RMSProp().build(),
        critic_tx=optax.chain(RMSProp().build(), clip_weights(0.01)),
        latent=lambda key, n: jax.random.normal(key, (n, 100)),
    )
    shape = (N_CRITIC, batch, pixels, pixels, channels)
    reals = jax.random.uniform(jax.random.key(1), shape, minval=-1.0)
    start = model.init(jax.random.key(0), reals[0])

    def scan():
        return model.train_step(start, reals)[0]

    def loop():
        state = start
        for real in reals:
            state, _ = model.critic_step(state, real)
        return model.generator_step(state, batch)[0]

    seconds: dict[str, list[float]] = {"scan": [], "loop": []}
    results = {}
    for _ in range(arguments.rounds + 1):
        for name, run in (("scan", scan), ("loop", loop)):
            began = clock()
            results[name] = jax.block_until_ready(run())
            seconds[name].append(clock() - began)
    scan_s, loop_s = (statistics.median(seconds[name][1:]) for name in ("scan", "loop"))
    scores = {name: state.critic.params for name, state in results.items()}
    gap = optax.tree.norm(jax.tree.map(jnp.subtract, scores["scan"], scores["loop"]))
    print(
        f"{arguments.workload}: scan {1e3 * scan_s:.0f} ms, loop {1e3 * loop_s:.0f} ms, "
        f"scan / loop {scan_s / loop_s:.2f}"
    )
    print(f"relative difference of the critics {gap / optax.tree.norm(scores['loop']):.1e}")


if __name__ == "__main__":
    main()
