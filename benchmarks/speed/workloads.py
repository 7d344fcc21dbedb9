"""The workloads. One iteration is 5 critic updates and 1 generator update."""

from __future__ import annotations

import math
from typing import NamedTuple

N_CRITIC = 5
C, RATE = 0.01, 5e-5
GP_WEIGHT, GP_RATE, GP_BETAS = 0.1, 1e-4, (0.5, 0.9)


class Workload(NamedTuple):
    """Sizes of a workload.

    Attributes:
      about: description.
      batch: samples per step.
      widths: widths of the hidden layers of both MLPs; empty for a DCGAN.
      image: (pixels, channels, filters) of a DCGAN.
      penalty: gradient penalty with Adam, instead of clipping with RMSProp.
      seeds: number of independent runs.
    """

    about: str
    batch: int
    widths: tuple[int, ...] = ()
    image: tuple[int, int, int] = (0, 0, 0)
    penalty: bool = False
    seeds: int = 1

    @property
    def latent(self) -> int:
        return 2 if self.widths else 100

    def gflop(self) -> float:
        """Return the multiplications and additions of one iteration, in 1e9.

        A backward pass costs one forward pass for the inputs and one for the weights.
        The penalty adds a forward pass, a gradient, and about two passes through it.
        """
        generator, critic = self._mlp() if self.widths else self._dcgan()
        critic_step = generator + 6 * critic + 4 * critic * self.penalty
        generator_step = 3 * generator + 2 * critic
        per_sample = N_CRITIC * critic_step + generator_step
        return self.seeds * self.batch * per_sample / 1e9

    def _mlp(self) -> tuple[float, float]:
        hidden = sum(a * b for a, b in zip(self.widths, self.widths[1:], strict=False))
        ends = self.widths[0] * 2, self.widths[-1]
        return 2.0 * (hidden + ends[0] + 2 * ends[1]), 2.0 * (hidden + ends[0] + ends[1])

    def _dcgan(self) -> tuple[float, float]:
        pixels, channels, filters = self.image
        stages = int(math.log2(pixels)) - 2
        widths = [channels, *(filters * 2**stage for stage in range(stages))]
        sides = [pixels >> stage + 1 for stage in range(stages)]
        # Of 4 taps per output along a side, two in total fall on the padding.
        taps = [(4 * side - 2) ** 2 for side in sides]
        convolutions = sum(n * a * b for n, a, b in zip(taps, widths, widths[1:], strict=False))
        last = 16 * widths[-1]
        return 2 * (convolutions + self.latent * last), 2 * (convolutions + last)


_MLP = (512, 512, 512)
WORKLOADS = {
    "W1": Workload("8 Gaussians, clipping, MLP 3 x 512", 256, widths=_MLP),
    "W2": Workload("8 Gaussians, gradient penalty, MLP 3 x 512", 256, widths=_MLP, penalty=True),
    "W3": Workload("DCGAN, 32 x 32 x 1, 64 filters", 64, image=(32, 1, 64)),
    "W4": Workload("DCGAN of the paper, 64 x 64 x 3", 64, image=(64, 3, 64)),
    "W5": Workload("16 seeds of W1", 256, widths=_MLP, seeds=16),
}
