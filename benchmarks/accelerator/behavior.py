"""Checks besides speed: equal runs, agreement with the CPU, resuming, members, bounds, images."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks.accelerator.images import cifar10_images
from benchmarks.accelerator.rows import SIZES, Task, sized, tiny
from benchmarks.speed.ours import Ours, networks
from benchmarks.speed.workloads import N_CRITIC, Workload
from wgan_jax import (
    MLP,
    DCGANCritic,
    DCGANGenerator,
    Wasserstein,
    clip_weights,
    estimate_w1,
    from_linen,
    gan,
    scan_steps,
    toy,
)
from wgan_jax.data.arrays import ArrayDataset
from wgan_jax.latents import Normal
from wgan_jax.lipschitz import lipschitz_bound
from wgan_jax.transforms.optimizers import RMSProp

_TOLERANCE = 1e-3  # relative, in the norm of the weights after three iterations


def equal_runs(task: Task) -> None:
    """Compare two runs from one seed, bit for bit."""
    found: dict[str, Any] = {}
    for name, iterations in (("W1", 200), ("W3", 20)):
        workload, chunk = sized(name, task.rehearse), 2 if task.rehearse else 20
        ends = []
        for _ in range(2):
            run = Ours(workload, chunk)
            run.iterate(chunk if task.rehearse else iterations)
            ends.append(leaves(run._state))
        difference = max(float(np.abs(a - b).max(initial=0)) for a, b in zip(*ends, strict=True))
        equal = all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))
        found[name] = {"equal": equal, "largest_difference": difference}
        task.save({"runs": found, "xla_flags": os.environ.get("XLA_FLAGS", "")})


def same_as_on_the_cpu(task: Task) -> None:
    """Compare three iterations here and on the CPU, in full precision, by gradient descent.

    RMSProp would not do: its first step is the sign of the gradient, which rounding may flip.
    """
    found: dict[str, Any] = {}
    for name in ("W1", "W3"):
        workload = tiny(SIZES[name]) if task.rehearse else SIZES[name]._replace(batch=16)
        tx = optax.chain(optax.sgd(1e-2), clip_weights(0.1))
        model = gan(
            *map(from_linen, networks(workload)),
            Wasserstein(),
            generator_tx=optax.sgd(1e-2),
            critic_tx=tx,
            latent=lambda key, n, width=workload.latent: jax.random.normal(key, (n, width)),
        )
        shape = (2,) if workload.widths else (*workload.image[:1] * 2, workload.image[1])
        reals = jnp.asarray(
            np.random.default_rng(0).normal(size=(N_CRITIC, workload.batch, *shape)), jnp.float32
        )
        ends = []
        for device in (jax.devices("cpu")[0], jax.devices()[0]):
            with jax.default_device(device), jax.default_matmul_precision("highest"):
                batches = jax.device_put(reals, device)
                state = jax.device_put(model.init(jax.random.key(0), batches[0]), device)
                for _ in range(3):
                    state, _ = model.train_step(state, batches)
                ends.append(leaves(state))
        error = sum(float(np.square(a - b).sum()) for a, b in zip(*ends, strict=True)) ** 0.5
        size = sum(float(np.square(a).sum()) for a in ends[0]) ** 0.5
        found[name] = {"relative_difference": error / size, "within": error / size <= _TOLERANCE}
        task.save({"devices": found, "tolerance": _TOLERANCE})


def resume(task: Task) -> None:
    """Kill a run, resume it in another process, and compare it bit for bit with a full run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "state.npz")
        command = [sys.executable, "-c", _VICTIM, str(path), str(int(task.rehearse))]
        victim = subprocess.Popen(command)
        while not path.exists():
            if victim.poll() is not None:
                raise SystemExit(f"the run to be killed ended with status {victim.returncode}")
            time.sleep(0.01)
        os.kill(victim.pid, signal.SIGKILL)
        victim.wait()
        with np.load(path) as file:
            saved = [file[f"arr_{i}"] for i in range(len(file.files))]
    full, resumed = (_resumable(task.rehearse) for _ in range(2))
    chunks = 5
    structure = jax.tree.structure(resumed._state)
    resumed._state = jax.tree.unflatten(
        structure,
        [
            jax.random.wrap_key_data(jnp.asarray(x)) if _is_key(like) else jnp.asarray(x)
            for x, like in zip(saved, jax.tree.leaves(resumed._state), strict=True)
        ],
    )
    done = int(resumed._state.step) // full._chunk
    resumed.iterate((chunks - done) * full._chunk)
    full.iterate(chunks * full._chunk)
    ends = leaves(full._state), leaves(resumed._state)
    equal = all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))
    task.save({"killed_after": done, "chunks": chunks, "equal": equal})


# Saves its state after each chunk, atomically by a rename, until it is killed.
_VICTIM = """
import pathlib, sys
import numpy as np
from benchmarks.accelerator import behavior
run, path = behavior._resumable(bool(int(sys.argv[2]))), pathlib.Path(sys.argv[1])
for _ in range(4):
    run.iterate(run._chunk)
    new = path.with_suffix(".new.npz")
    np.savez(new, *behavior.leaves(run._state))
    new.replace(path)
import time; time.sleep(600)
"""


def _resumable(rehearse: bool) -> Ours:
    return Ours(tiny(SIZES["W1"]) if rehearse else SIZES["W1"], 2 if rehearse else 50)


def members(task: Task, counts: tuple[int, ...] = ()) -> None:
    """Time an iteration as a population grows."""
    found: dict[str, float] = {}
    for count in counts or ((1, 4) if task.rehearse else (1, 4, 16, 64)):
        batch, width, depth = (8, 8, 1) if task.rehearse else (256, 128, 3)
        run = Ours(Workload("members", batch, widths=(width,) * depth, seeds=count), 10)
        run.iterate(10)
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            run.iterate(10)
            seconds.append((time.perf_counter() - began) / 10)
        found[str(count)] = 1e3 * float(np.median(seconds))
        task.save({"ms": found, "width": width})


def bounds(task: Task) -> None:
    """Time a certified W1 of two samplers and a Lipschitz bound, with and without compilation."""
    options = {"steps": 20, "cones": 16} if task.rehearse else {}
    options |= {"held_out": 1_024, "transport_size": 64, "transports": 1} if task.rehearse else {}
    found: dict[str, Any] = {}

    def timed(name: str, function: Any) -> Any:
        seconds = []
        for _ in range(2):
            began = time.perf_counter()
            result = function()
            seconds.append(time.perf_counter() - began)
        found[name] = {"first_s": seconds[0], "again_s": seconds[1]}
        return result

    critic = MLP(features=(16,) * 3 if task.rehearse else (512,) * 3)
    variables = critic.init(jax.random.key(0), jnp.ones((2, 2)))
    bound = timed("lipschitz_bound", lambda: lipschitz_bound(critic, variables))
    found["lipschitz_bound"]["value"] = float(bound.value)
    task.save({"bounds": found})
    estimate = timed(
        "estimate_w1",
        lambda: estimate_w1(
            toy.Ring(), toy.Grid(), key=jax.random.key(0), progress=False, **options
        ),
    )
    found["estimate_w1"] |= {"lower": float(estimate.lower), "upper": float(estimate.upper)}
    task.save({"bounds": found})


def cifar10(task: Task) -> None:
    """Run 2,000 iterations of configs/cifar10.py, including warm-up, on the given images."""
    images = cifar10_images(Path(task.cifar10))
    model, steps = cifar10_gan(4 if task.rehearse else 64), 6 if task.rehearse else 2_000
    data = ArrayDataset(jnp.asarray(images))
    batch = 4 if task.rehearse else 64
    state = model.init(jax.random.key(0), data(jax.random.key(1), batch))

    def run(n_critic: int, length: int) -> Any:
        sizes = {"n_critic": n_critic, "batch_size": batch, "length": length}
        return jax.jit(scan_steps(model, **sizes), donate_argnums=0)

    # Warm-up: more critic steps in the first 25 iterations and in every 500th.
    warm, rest, done = run(100, 1), dict[int, Any](), 0
    began, found = time.monotonic(), dict[str, Any]()
    while done < steps and task.spent() < 0.95:
        if done < (2 if task.rehearse else 25) or done % 500 == 0:
            state, metrics = warm(state, data)
            done += 1
        else:
            length = min(25 - done % 25, steps - done)
            rest[length] = rest.get(length) or run(N_CRITIC, length)
            state, metrics = rest[length](state, data)
            done += length
        estimate = float(metrics["critic/estimate"][-1])
        found = {"iterations": done, "of": steps, "seconds": time.monotonic() - began}
        found |= {"critic_estimate": estimate, "finite": bool(np.isfinite(estimate))}
        task.save({"cifar10": found})


def cifar10_gan(filters: int = 64) -> Any:
    """Return the GAN of configs/cifar10.py, which itself needs packages that may be missing."""
    size = {"image_size": 32, "channels": 3, "filters": filters}
    return gan(
        from_linen(DCGANGenerator(**size)),
        from_linen(DCGANCritic(**size)),
        Wasserstein(),
        generator_tx=RMSProp().build(),
        critic_tx=optax.chain(RMSProp().build(), clip_weights(0.01)),
        latent=Normal(dim=100),
    )


def leaves(tree: Any) -> list[np.ndarray]:
    return [np.asarray(jax.random.key_data(x) if _is_key(x) else x) for x in jax.tree.leaves(tree)]


def _is_key(x: Any) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
