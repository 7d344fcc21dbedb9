"""Guard against non-finite values: stops the run or counts skipped steps."""

from __future__ import annotations

import logging

import numpy as np

from wgan_jax.errors import UserError
from wgan_jax.experiment.config import NonFinite
from wgan_jax.transforms.finite import num_skipped
from wgan_jax.types import GANState

logger = logging.getLogger(__name__)

_PLAYERS = ("critic", "generator")


class NonFiniteGuard:
    """Checks the metrics of each chunk and the counts of skipped steps.

    Args:
      policy: `stop` ends the run at the first non-finite value; `skip` continues
        without the affected steps and warns once.
      state: initial state of the run, with its counts so far.
    """

    def __init__(self, policy: NonFinite, state: GANState):
        self._policy, self._warned = policy, False
        counts = [num_skipped(getattr(state, player).opt_state) for player in _PLAYERS]
        self._counts = [0 if count is None else int(count) for count in counts]

    def __call__(self, metrics: dict[str, np.ndarray], before: int) -> None:
        """Check the iterations after `before`, metrics [length].

        Raises:
          UserError: a value is not finite and the policy is `stop`; the message names the step.
        """
        for i in range(len(next(iter(metrics.values())))):
            if problem := self._problem(metrics, i):
                self._apply_policy(problem, before + i + 1)

    def _problem(self, metrics: dict[str, np.ndarray], i: int) -> str | None:
        for k, player in enumerate(_PLAYERS):
            count = int(metrics.get(f"{player}/skipped", [0] * (i + 1))[i])
            if count > self._counts[k]:
                self._counts[k] = count
                return f"the gradient or the update of the {player} is not finite"
        if self._policy == "skip":
            return None
        bad = (name for name, values in metrics.items() if not np.isfinite(values[i]))
        return next((f"{name} is {metrics[name][i]}" for name in bad), None)

    def _apply_policy(self, problem: str, step: int) -> None:
        if self._policy == "stop":
            raise UserError(
                f"{problem} at step {step}: training stops and does not save it; lower the "
                f"learning rate or check the data, or skip such steps: --non-finite skip"
            )
        if not self._warned:
            logger.warning(
                f"step {step:,}: {problem}; the step is skipped, further ones are counted silently"
            )
        self._warned = True
