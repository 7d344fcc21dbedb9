"""Interface of figures: settings, claims with their evidence, a picture."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np

from wgan_jax.experiment.plots import pyplot as pyplot  # for figures

T = TypeVar("T")
SIZES = ("quick", "default", "real", "full")


class Settings(NamedTuple):
    """Settings for computing a figure.

    Attributes:
      size: `default` takes minutes on two cores; `real` raises the image figures to 32 pixels and
        the paper's 64 filters, which takes hours there; `full` trains as long as the paper, on an
        accelerator; `quick` is a smoke test that judges no claim.
      seeds: number of seeds; the figure's own number if None.
      data_dir: folder of prepared data sets; the default of TFDS if None.
      cache_path: file of a long figure's results so far, from which it resumes.
    """

    size: str = "default"
    seeds: int | None = None
    data_dir: str | None = None
    cache_path: Path | None = None

    def by_size(self, quick: T, default: T, full: T | None = None) -> T:
        """Return the value for this size; a size without one of its own uses `default`."""
        if self.size == "quick":
            return quick
        return full if self.size == "full" and full is not None else default

    @property
    def folder(self) -> Path:
        """Folder of what figures share: that of the results so far."""
        return Path() if self.cache_path is None else self.cache_path.parent


class Claim(NamedTuple):
    """A statement, whether this run supports it, and the evidence."""

    text: str
    holds: bool
    evidence: str


class Table(NamedTuple):
    """Numbers shown with the picture; the first column names the rows."""

    head: list[str]
    rows: list[list[str]]


class Result(NamedTuple):
    """A computed figure.

    Attributes:
      picture: a matplotlib figure.
      numbers: the numbers behind it, as JSON types.
      claims: statements that it supports or does not support.
      table: numbers shown with the picture.
      earlier: wall-clock and CPU seconds that interrupted runs had spent on it.
    """

    picture: Any
    numbers: dict[str, Any]
    claims: list[Claim]
    table: Table | None = None
    earlier: tuple[float, float] = (0.0, 0.0)


def claim_status(claim: Claim, settings: Settings) -> bool | None:
    """Return whether the claim holds, or None if the run was too short to judge."""
    return None if settings.size == "quick" else bool(claim.holds)


def report(result: Result, settings: Settings) -> str:
    """Format the claims as text, two lines each."""
    words = {True: "holds        ", False: "DOES NOT HOLD", None: "not judged   "}
    return "\n".join(
        f"{words[claim_status(claim, settings)]}  {claim.text}\n{'':15}{claim.evidence}"
        for claim in result.claims
    )


def mean_std(values: Any, form: str = ".2f") -> str:
    """Format the mean and standard deviation over seeds; the mean alone for one seed.

    Example:
      >>> mean_std([1.0, 3.0]), mean_std([2.0])
      ('2.00 ± 1.00', '2.00')
    """
    mean = f"{np.mean(values):{form}}"
    return f"{mean} ± {np.std(values):{form}}" if np.size(values) > 1 else mean


def seeds_in_words(n: int) -> str:
    """Format a number of seeds.

    Example:
      >>> seeds_in_words(1), seeds_in_words(3)
      ('one seed', '3 seeds')
    """
    return "one seed" if n == 1 else f"{n} seeds"


def as_json(value: Any) -> Any:
    """Convert to JSON types; non-finite floats become strings such as "inf" or "nan"."""
    if isinstance(value, dict):
        return {name: as_json(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, np.generic | np.ndarray):
        return as_json(value.tolist())
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def machine() -> dict[str, Any]:
    """Describe the machine that a figure is computed on."""
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
    """Draw gray images [side * side, h, w] in [-1, 1] as a square grid."""
    side = math.isqrt(len(images))
    rows = images.reshape(side, side, *images.shape[1:])
    ax.imshow(np.block([list(row) for row in rows]), cmap="gray", vmin=-1, vmax=1)
    ax.set(xticks=[], yticks=[])
