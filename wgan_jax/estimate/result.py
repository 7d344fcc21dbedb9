"""The result of `estimate_w1`: its numbers, a one-line summary, a notebook table and a plot."""

from __future__ import annotations

import html
import numbers
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from wgan_jax.estimate.judge import Progress
from wgan_jax.types import Array


class W1Estimate(NamedTuple):
    """An estimate of W1, in the units of the samples. Copyable and picklable.

    Attributes:
      value: the best estimate inside the bounds.
      lower: lower bound on W1, at the stated confidence.
      upper: upper bound on W1; both bounds hold jointly at the stated confidence. Where most
        of it is `floor`, as in high dimension, it is not informative, and a note says so.
      confidence: the probability that both bounds hold.
      lipschitz: certified Lipschitz bound of the critic, by which its score was divided.
      dual: the critic's mean difference on held-out samples, without the margin.
      transport: mean exact W1 between samples of `transport_size` points.
      floor: noise floor: mean exact W1 between samples of one distribution, at half that size.
      transport_size: points in each of those samples.
      transport_draws: exact W1 of each pair of samples; their mean is `transport`.
      transport_uppers: the upper bound from the first draw, the first two, and so on; the
        last is never below `upper`.
      n_p: held-out samples of p behind `lower`.
      n_q: held-out samples of q behind `lower`.
      steps: steps of the critic's ascent; 0 for a user-supplied or closed-form critic.
      converged: whether the critic reached a plateau or was stopped early on validation rows;
        if not, `lower` may be loose (it still holds) and more `steps` may help.
      history: (step, score, lower) during the ascent: the score on validation samples, without
        and with its margin subtracted, in the units of the samples. For arrays it ends with a
        decreasing number of cones; the best critic counts, wherever it occurred. Empty if
        there was no ascent.
      critic: the 1-Lipschitz critic x[n, ...] -> scores [n] behind `lower`: a pytree of its
        parameters, to call, to jit or to pass to a jitted function.
      features: name of the features whose distance this is; empty for the samples themselves.
      notes: warnings in words: a column that makes up nearly all of the distance, columns
        that look like categories, an upper bound that is mostly noise.
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
        """Whether most of `upper` is the distance between two samples of one distribution."""
        is_loose = self.lower < self.upper / 2 < self.floor
        return bool(is_loose and self.transport <= self.upper)

    def __repr__(self) -> str:
        if not isinstance(self.value, numbers.Real):  # a pytree with other leaves
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
            "two samples of one distribution": (
                f"{self.floor:.4g} ({self.transport_size // 2:,} points)"
            ),
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
        return percent(self.confidence)

    @property
    def _noise(self) -> str:
        return " (mostly noise)" if self.upper_is_noise else ""

    def plot(self) -> Any:
        """Plot the lower bound over critic steps, and the upper bound over exact transports.

        Left: what validation samples certify during the ascent. Right: the margin
        shrinks as exact transports are averaged. The band is the final bounds, the dotted
        line the value. Without an ascent there is only the right panel.

        Returns:
          A matplotlib `Figure`; `savefig(path)` writes it.
        """
        from wgan_jax.estimate.figure import Figure

        has_history = bool(self.history)
        figure = Figure(figsize=(8 if has_history else 5, 3.6), layout="constrained")
        panels = figure.subplots(1, 1 + has_history, sharey=True, squeeze=False)[0]
        for axes in panels:
            axes.axhspan(self.lower, self.upper, color="#2a9d8f", alpha=0.12)
            axes.axhline(self.value, color="black", linewidth=0.8, linestyle=":")
        units = f"in units of {self.features or 'the samples'}"
        panels[0].set(ylabel=f"W1, {units}")
        if self.history:
            left = panels[0]
            steps, scores, lower = zip(*self.history, strict=True)
            left.plot(steps, scores, color="#8ab6b0", label="validation score")
            left.plot(steps, np.maximum(lower, 0), color="#2a9d8f", label="score minus its margin")
            left.legend(frameon=False, fontsize=8)
            left.set(xlabel="critic steps", title="lower bound")
        right = panels[-1]
        draws = np.array(self.transport_draws)
        counts = np.arange(1, len(draws) + 1)
        right.plot(counts, draws, ".", color="#c0c0c0", label="one transport")
        right.plot(counts, self.transport_uppers, ".-", color="#d1495b", label="mean plus margin")
        debiased = self.transport - self.floor
        right.axhline(debiased, color="#e9a23b", linewidth=0.8, label="transport minus its floor")
        right.legend(frameon=False, fontsize=8)
        right.set(
            xlabel="transports averaged", title=f"upper bound, {self.transport_size:,} points"
        )
        right.set_xlim(0.5, len(draws) + 0.5)
        right.locator_params(axis="x", integer=True, min_n_ticks=1)
        figure.suptitle(
            f"W1 = {self.value:.4g}, between {self.lower:.4g} and {self.upper:.4g} "
            f"at {self._percent} confidence"
        )
        return figure


def percent(confidence: float) -> str:
    """A confidence in percent, with as many digits as keep it below certainty.

    Example:
      >>> percent(0.95), percent(1 - 0.05 / 3), percent(1 - 1e-6)
      ('95%', '98.33%', '99.9999%')
    """
    texts = (f"{100 * confidence:.{digits}g}" for digits in range(4, 18))
    return next(text for text in texts if text != "100") + "%"


def _count(n_p: int, n_q: int) -> str:
    return f"{n_p:,}" if n_p == n_q else f"{n_p:,} and {n_q:,}"
