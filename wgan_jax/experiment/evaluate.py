"""How good the samples of a run are, in numbers that do not come from its critic."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from wgan_jax.data.stream import ImageStream
from wgan_jax.data.toy import Grid, Ring
from wgan_jax.distances.exact import exact_w1
from wgan_jax.experiment.config import Config
from wgan_jax.gan import GAN
from wgan_jax.keys import Draw, key_for
from wgan_jax.loop import as_pytree
from wgan_jax.metrics import mode_coverage
from wgan_jax.types import Array, GANState, PyTree

_POINTS, _DRAWS, _NEAR = 2_000, 6, 3


def evaluate(config: Config, gan: GAN, state: GANState, data: Any) -> dict[str, float]:
    """Exact W1 of samples and data beside its finite-sample floor; modes where there are some.

    The floor is exact W1 between independent draws of the data: no generator can
    be told from the data below it. One draw is noisy, so the floor is a mean over
    as many as a finite data set holds without repetition, at most six, and so is
    W1 where it comes near the floor.
    """
    real_key, fake_key = jax.random.split(key_for(state.key, Draw.EVALUATION))
    size = data.size if hasattr(data, "size") else None
    points = _POINTS if size is None else min(_POINTS, size // 2)
    reals = real_clouds(data, real_key, points, size, config.seed)
    keys = jax.random.split(fake_key, len(reals))
    fakes = [flat(gan.generate(state, key, points)) for key in keys]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # scipy lets go of the interpreter
        floor = float(np.mean(list(pool.map(exact_w1, reals[:-1], reals[1:]))))
        exact = [exact_w1(fakes[0], reals[0])]
        if exact[0] < _NEAR * floor:
            exact += pool.map(exact_w1, fakes[1:], reals[1:])
    result = {"points": points, "draws": len(exact)}
    result |= {"w1/exact": float(np.mean(exact)), "w1/floor": floor}
    result |= {"w1/ratio": result["w1/exact"] / result["w1/floor"]}
    if len(exact) > 1:
        result["w1/error"] = float(np.std(exact, ddof=1) / len(exact) ** 0.5)
    if isinstance(config.dataset, Ring | Grid):
        coverages = [mode_coverage(x, config.dataset.centers, config.dataset.std) for x in fakes]
        result |= {
            "modes/found": coverages[0].found,
            "modes/total": coverages[0].modes,
            "modes/high_quality": float(np.mean([c.high_quality for c in coverages])),
        }
    return result


def report(result: dict[str, float]) -> str:
    """The result as lines to read."""
    lines = []
    if "modes/found" in result:
        lines += [
            f"modes found   {result['modes/found']} of {result['modes/total']}",
            f"within 3 std  {result['modes/high_quality']:.1%} of the samples",
        ]
    if "w1/exact" in result:
        points, draws = f"{int(result['points']):,} points", int(result["draws"])
        mean = "one draw" if draws == 1 else f"mean of {draws} draws"
        error = f" ± {result['w1/error']:.4f}" if "w1/error" in result else ""
        lines += [
            f"exact W1      {result['w1/exact']:.4f}{error}  ({points} of samples against data, "
            f"{mean})",
            f"W1 floor      {result['w1/floor']:.4f}  ({points} of data against other data)",
            f"W1 / floor    {result['w1/ratio']:.2f}",
        ]
    if "w1/lower" in result:
        bound = f"(the critic on held-out data over {result['w1/lipschitz']:.3g}, 95% confidence)"
        lines += [f"W1 at least   {result['w1/lower']:.4f}  {bound}"]
    return "\n".join(lines)


def real_clouds(
    data: Any, key: Array, points: int, size: int | None, seed: int
) -> list[np.ndarray]:
    """Independent clouds of real samples, without repetition where the data set is finite."""
    count = _DRAWS if size is None else min(_DRAWS, max(2, size // points))
    if isinstance(data, ImageStream):
        batches = data.batches(seed, points, 0)
        return [next(batches).reshape(points, -1) / 127.5 - 1 for _ in range(count)]
    if hasattr(data, "at"):
        return [flat(data.at(key, step, points)) for step in range(count)]
    keys = jax.random.split(key, count)
    return [flat(as_pytree(data)(k, points)) for k in keys]


def flat(samples: PyTree) -> np.ndarray:
    """Samples as points [n, d]; of pairs, the first."""
    points = np.asarray(jax.tree.leaves(samples)[0])
    return points.reshape(len(points), -1)
