"""The scanned train step of the 32-pixel DCGAN beside a Python loop over jitted critic steps.

    python benchmarks/scan_vs_loop.py

Both do one generator iteration of n_critic = 5, from the same state and data,
in interleaved rounds; medians and their ratio are printed.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import optax

from wgan_jax import DCGANCritic, DCGANGenerator, Wasserstein, clip_weights, from_linen, gan
from wgan_jax.optimizers import RMSProp

ROUNDS, N_CRITIC, BATCH, SIZE = 9, 5, 64, 32


def main() -> None:
    model = gan(
        from_linen(DCGANGenerator(image_size=SIZE, channels=1)),
        from_linen(DCGANCritic(image_size=SIZE, channels=1)),
        Wasserstein(),
        generator_tx=RMSProp().build(),
        critic_tx=optax.chain(RMSProp().build(), clip_weights(0.01)),
        latent=lambda key, n: jax.random.normal(key, (n, 100)),
    )
    reals = jax.random.uniform(jax.random.key(1), (N_CRITIC, BATCH, SIZE, SIZE, 1), minval=-1.0)
    start = model.init(jax.random.key(0), reals[0])

    def scan():
        return model.train_step(start, reals)[0]

    def loop():
        state = start
        for real in reals:
            state, _ = model.critic_step(state, real)
        return model.generator_step(state, BATCH)[0]

    seconds: dict[str, list[float]] = {"scan": [], "loop": []}
    results = {}
    for _ in range(ROUNDS + 1):
        for name, run in (("scan", scan), ("loop", loop)):
            began = time.perf_counter()
            results[name] = jax.block_until_ready(run())
            seconds[name].append(time.perf_counter() - began)
    scan_s, loop_s = (statistics.median(seconds[name][1:]) for name in ("scan", "loop"))
    scores = {name: state.critic.params for name, state in results.items()}
    gap = optax.tree.norm(jax.tree.map(jnp.subtract, scores["scan"], scores["loop"]))
    print(
        f"scan {1e3 * scan_s:.0f} ms, loop {1e3 * loop_s:.0f} ms, scan / loop {scan_s / loop_s:.2f}"
    )
    print(f"relative difference of the critics {gap / optax.tree.norm(scores['loop']):.1e}")


if __name__ == "__main__":
    main()
