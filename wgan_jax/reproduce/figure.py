"""The interface of figures: settings, claims with their evidence, a picture."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

T = TypeVar("T")
SIZES = ("quick", "default", "real", "full")


class Settings(NamedTuple):
    """How a figure is computed.

    Attributes:
      size: `default` runs on two cores in minutes; `real` takes the image figures to 32 pixels
        and the paper's 64 filters, which is hours there; `full` is as long as the paper's, for
        an accelerator; `quick` only shows that it runs, and judges no claim.
      seeds: how many; the figure's own number if None.
      data_dir: of prepared data sets; the default of TFDS if None.
      cache_path: a file for what a long figure has computed so far, from which it goes on.
    """

    size: str = "default"
    seeds: int | None = None
    data_dir: str | None = None
    cache_path: Path | None = None

    def by_size(self, quick: T, default: T, full: T | None = None) -> T:
        """The value for this size; others are as `default` where they are not given."""
        if self.size == "quick":
            return quick
        return full if self.size == "full" and full is not None else default


class Claim(NamedTuple):
    """A sentence, whether this run supports it, and the numbers that say so."""

    text: str
    holds: bool
    evidence: str


class Table(NamedTuple):
    """Numbers to read beside the picture; the first column names the rows."""

    head: list[str]
    rows: list[list[str]]


class Result(NamedTuple):
    """A figure.

    Attributes:
      picture: a matplotlib figure.
      numbers: what is behind it, JSON types.
      claims: what it supports or does not.
      table: numbers to read beside it.
      earlier: seconds on the clock and of CPU time that an interrupted run had spent on it.
    """

    picture: Any
    numbers: dict[str, Any]
    claims: list[Claim]
    table: Table | None = None
    earlier: tuple[float, float] = (0.0, 0.0)


def claim_status(claim: Claim, settings: Settings) -> bool | None:
    """None where the run was too short to judge."""
    return None if settings.size == "quick" else bool(claim.holds)


def report(result: Result, settings: Settings) -> str:
    """The claims as lines to read."""
    words = {True: "holds        ", False: "DOES NOT HOLD", None: "not judged   "}
    return "\n".join(
        f"{words[claim_status(claim, settings)]}  {claim.text}\n{'':15}{claim.evidence}"
        for claim in result.claims
    )


def mean_std(values: Any, form: str = ".2f") -> str:
    """Mean and standard deviation over the seeds, to read; one seed has no spread.

    Example:
      >>> mean_std([1.0, 3.0]), mean_std([2.0])
      ('2.00 ± 1.00', '2.00')
    """
    mean = f"{np.mean(values):{form}}"
    return f"{mean} ± {np.std(values):{form}}" if np.size(values) > 1 else mean


def seeds_in_words(n: int) -> str:
    """How many seeds.

    Example:
      >>> seeds_in_words(1), seeds_in_words(3)
      ('one seed', '3 seeds')
    """
    return "one seed" if n == 1 else f"{n} seeds"


def as_json(value: Any) -> Any:
    """Numbers as JSON has them: what is not finite becomes a string, "inf" or "nan"."""
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return as_json(value.tolist())
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def machine() -> dict[str, Any]:
    """What a figure was computed on."""
    device = jax.devices()[0]
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "cores": os.cpu_count(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
    }


def draw_samples(ax: Any, images: np.ndarray) -> None:
    """Draw gray images [side * side, h, w] in [-1, 1] as a square."""
    side = math.isqrt(len(images))
    rows = images.reshape(side, side, *images.shape[1:])
    ax.imshow(np.block([list(row) for row in rows]), cmap="gray", vmin=-1, vmax=1)
    ax.set(xticks=[], yticks=[])


def pyplot() -> Any:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt
