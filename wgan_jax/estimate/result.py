"""The estimate of W1: its numbers, as a line, a table in a notebook and a picture."""

from __future__ import annotations

import html
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from wgan_jax.estimate.judge import Progress
from wgan_jax.types import Array


class W1Estimate(NamedTuple):
    """An estimate of W1, in the units of the samples. It can be copied and pickled.

    Attributes:
      value: the best estimate inside the bounds.
      lower: W1 is not below this, at the stated confidence.
      upper: W1 is not above this; both hold together at the stated confidence. Where
        `floor` is most of it, as in high dimension, it tells little, and `notes` says so.
      confidence: the probability that both bounds hold.
      lipschitz: certified Lipschitz bound of the critic, by which its score was divided.
      dual: the critic's mean difference on held-out samples, without the margin.
      transport: mean exact W1 between samples of `transport_size` points.
      floor: mean exact W1 between samples of one law, at half that size.
      transport_size: points in each of those samples.
      transport_draws: exact W1 of each pair of samples, whose mean is `transport`.
      transport_uppers: the upper bound from the first draw, the first two, and so on; that
        of all of them is no less than `upper`.
      n_p: held-out samples of p behind `lower`.
      n_q: held-out samples of q behind `lower`.
      steps: of the critic's ascent; 0 of a critic that was given, or is known in closed form.
      converged: the critic passed the plateau test, or validation rows spoke against more
        steps; if not, `lower` may be loose (it holds all the same) and more `steps` may help.
      history: of the ascent, (step, score, lower): the score on validation samples, and
        that less its margin, in the units of the samples. Of arrays it ends with fewer and fewer
        cones; the best critic counts, wherever it was. Empty where there was no ascent.
      critic: the 1-Lipschitz critic x[n, ...] -> scores [n] behind `lower`: a pytree of its
        parameters, to call, to jit or to pass to a jitted function.
      features: the name of the features whose distance this is; empty for the samples' own.
      notes: what to know of this estimate, in words: a column that makes nearly all of the
        distance, columns that look like categories, an upper bound that is mostly noise.
    """

    value: float
    lower: float
    upper: float
    confidence: float
    lipschitz: float
    dual: float
    transport: float
    floor: float
    transport_size: int
    transport_draws: tuple[float, ...]
    transport_uppers: tuple[float, ...]
    n_p: int
    n_q: int
    steps: int
    converged: bool
    history: tuple[Progress, ...]
    critic: Callable[[Array], Array]
    features: str = ""
    notes: tuple[str, ...] = ()

    @property
    def upper_is_noise(self) -> bool:
        """Whether most of `upper` is the distance between two samples of one law."""
        is_loose = self.lower < self.upper / 2 < self.floor
        return bool(is_loose and self.transport <= self.upper)

    def __repr__(self) -> str:
        if not isinstance(self.value, numbers.Real):  # a pytree of something else
            return f"W1Estimate{tuple.__repr__(self)}"
        space = f" of {self.features}" if self.features else ""
        return (
            f"W1Estimate({self.value:.4g}{space}, {self._percent}: {self.lower:.4g} to "
            f"{self.upper:.4g}{self._noise}, held out {_count(self.n_p, self.n_q)})"
        )

    def _repr_html_(self) -> str:
        """A small table for a notebook."""
        title = f"W1 of {self.features}" if self.features else "W1"
        rows = {
            title: f"<b>{self.value:.4g}</b>",
            f"at least ({self._percent})": f"{self.lower:.4g}",
            f"at most ({self._percent})": f"{self.upper:.4g}{self._noise}",
            "two samples of one law": f"{self.floor:.4g} ({self.transport_size // 2:,} points)",
            "held-out samples": _count(self.n_p, self.n_q),
        }
        cells = "".join(
            f'<tr><th style="text-align:left">{html.escape(name)}</th><td>{cell}</td></tr>'
            for name, cell in rows.items()
        )
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        return f"<div><table>{cells}</table>{notes}</div>"

    @property
    def _percent(self) -> str:
        return f"{100 * self.confidence:.4g}%"

    @property
    def _noise(self) -> str:
        return " (mostly noise)" if self.upper_is_noise else ""

    def plot(self) -> Any:
        """Draw the lower bound over the critic's steps, and the upper one over transports.

        Left, what validation samples certify as the critic ascends; right, the margin
        that shrinks as exact transport is averaged. The lines across are the final
        bounds and the value. Where there was no ascent, the right part is all.

        Returns:
          A matplotlib `Figure`; `savefig(path)` writes it.
        """
        from wgan_jax.estimate.figure import Figure

        wide = bool(self.history)
        figure = Figure(figsize=(8 if wide else 5, 3.6), layout="constrained")
        every = figure.subplots(1, 1 + wide, sharey=True, squeeze=False)[0]
        for axes in every:
            axes.axhspan(self.lower, self.upper, color="#2a9d8f", alpha=0.12)
            axes.axhline(self.value, color="black", linewidth=0.8, linestyle=":")
        units = f"in units of {self.features or 'the samples'}"
        every[0].set(ylabel=f"W1, {units}")
        if self.history:
            left = every[0]
            steps, scores, lower = zip(*self.history, strict=True)
            left.plot(steps, scores, color="#8ab6b0", label="score on validation samples")
            left.plot(steps, np.maximum(lower, 0), color="#2a9d8f", label="less its margin")
            left.legend(frameon=False, fontsize=8)
            left.set(xlabel="critic steps", title="from below")
        right = every[-1]
        draws = np.array(self.transport_draws)
        counts = np.arange(1, len(draws) + 1)
        right.plot(counts, draws, ".", color="#c0c0c0", label="one transport")
        right.plot(counts, self.transport_uppers, ".-", color="#d1495b", label="mean and margin")
        less = self.transport - self.floor
        right.axhline(less, color="#e9a23b", linewidth=0.8, label="transport less its floor")
        right.legend(frameon=False, fontsize=8)
        right.set(xlabel="transports averaged", title=f"from above, {self.transport_size:,} points")
        right.set_xlim(0.5, len(draws) + 0.5)
        right.locator_params(axis="x", integer=True, min_n_ticks=1)
        figure.suptitle(
            f"W1 = {self.value:.4g}, between {self.lower:.4g} and {self.upper:.4g} "
            f"at {self._percent} confidence"
        )
        return figure


def _count(n_p: int, n_q: int) -> str:
    return f"{n_p:,}" if n_p == n_q else f"{n_p:,} and {n_q:,}"
