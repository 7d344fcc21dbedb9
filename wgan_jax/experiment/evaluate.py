"""How good the samples of a run are, in numbers that do not come from its critic."""

from __future__ import annotations

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

_POINTS, _FLOORS = 2_000, 3


def evaluate(config: Config, gan: GAN, state: GANState, data: Any) -> dict[str, float]:
    """Exact W1 of samples and data beside its finite-sample floor; modes where there are some.

    The floor is the mean exact W1 between independent draws of the data: no
    generator can be told from the data below it.
    """
    real_key, fake_key = jax.random.split(key_for(state.key, Draw.EVALUATION))
    size = data.size if hasattr(data, "size") else None
    points = _POINTS if size is None else min(_POINTS, size // 2)
    fake = flat(gan.generate(state, fake_key, points))
    reals = real_clouds(data, real_key, points, size, config.seed)
    floors = [exact_w1(reals[i], reals[i + 1]) for i in range(len(reals) - 1)]
    result = {"points": points, "w1/exact": exact_w1(fake, reals[0])}
    result |= {"w1/floor": float(np.mean(floors))}
    result |= {"w1/ratio": result["w1/exact"] / result["w1/floor"]}
    if isinstance(config.dataset, Ring | Grid):
        coverage = mode_coverage(fake, config.dataset.centers, config.dataset.std)
        result |= {
            "modes/found": coverage.found,
            "modes/total": coverage.modes,
            "modes/high_quality": coverage.high_quality,
        }
    return result


def report(result: dict[str, float]) -> str:
    """The result as lines to read."""
    points = f"{int(result['points']):,} points"
    lines = []
    if "modes/found" in result:
        lines += [
            f"modes found   {result['modes/found']} of {result['modes/total']}",
            f"within 3 std  {result['modes/high_quality']:.1%} of the samples",
        ]
    return "\n".join(
        [
            *lines,
            f"exact W1      {result['w1/exact']:.4f}  ({points} of samples against data)",
            f"W1 floor      {result['w1/floor']:.4f}  ({points} of data against other data)",
            f"W1 / floor    {result['w1/ratio']:.2f}",
        ]
    )


def real_clouds(
    data: Any, key: Array, points: int, size: int | None, seed: int
) -> list[np.ndarray]:
    """Independent clouds of real samples, without repetition where the data set is finite."""
    count = _FLOORS + 1 if size is None else min(_FLOORS + 1, max(2, size // points))
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
