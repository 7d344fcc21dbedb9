"""Stops a run at values that are not finite, or counts them; none of them is ever saved."""

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
    """Checks the metrics of each chunk, and the count of skipped steps.

    Args:
      policy: `stop` ends the run at the first such value; `skip` goes on, without
        the steps that it would have spoilt, and warns once.
      state: where the run starts from, with its counts so far.
    """

    def __init__(self, policy: NonFinite, state: GANState):
        self._policy, self._warned = policy, False
        counts = [num_skipped(getattr(state, player).opt_state) for player in _PLAYERS]
        self._counts = [0 if count is None else int(count) for count in counts]

    def __call__(self, metrics: dict[str, np.ndarray], before: int) -> None:
        """Check the iterations after `before`, metrics [length].

        Raises:
          UserError: one is not finite, and the run is to stop; it names the step.
        """
        for i in range(len(next(iter(metrics.values())))):
            if found := self._found(metrics, i):
                self._apply_policy(found, before + i + 1)

    def _found(self, metrics: dict[str, np.ndarray], i: int) -> str | None:
        for k, player in enumerate(_PLAYERS):
            count = int(metrics.get(f"{player}/skipped", [0] * (i + 1))[i])
            if count > self._counts[k]:
                self._counts[k] = count
                return f"the gradient or the update of the {player} is not finite"
        if self._policy == "skip":
            return None
        bad = (name for name, values in metrics.items() if not np.isfinite(values[i]))
        return next((f"{name} is {metrics[name][i]}" for name in bad), None)

    def _apply_policy(self, found: str, step: int) -> None:
        if self._policy == "stop":
            raise UserError(
                f"{found} at step {step}: training stops and nothing of it is saved; lower the "
                f"learning rate or look at the data, or leave such steps out: --non-finite skip"
            )
        if not self._warned:
            logger.warning(
                f"step {step:,}: {found}; that step is left out, more are counted silently"
            )
        self._warned = True
