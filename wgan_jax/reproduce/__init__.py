"""Figures and tables of the papers, each computed anew by one command."""

from __future__ import annotations

import importlib
import time
from pathlib import Path

from wgan_jax.errors import UserError
from wgan_jax.experiment.codec import suggest
from wgan_jax.experiment.workdir import write_json
from wgan_jax.reproduce.figure import Result, Settings, as_json, machine, verdict

FIGURES = {
    "fig1": "parallel lines: W1 beside Jensen-Shannon, KL and total variation",
    "fig2": "two Gaussians: optimal discriminator and critic, and their gradients",
    "w1_benchmark": "W1 estimates beside the truth, on the 28 pairs of Wasserstein1Benchmark",
}


def reproduce(name: str, out: Path, settings: Settings) -> Result:
    """Compute a figure; write `out/NAME.png` and `out/NAME.json`.

    Raises:
      UserError: an unknown figure, or a folder that cannot be written.
    """
    if name not in FIGURES:
        raise UserError(
            f"unknown figure {name!r}; {suggest(name, list(FIGURES))} (known: {', '.join(FIGURES)})"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / f"{name}.json.part").touch()
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from error
    module = importlib.import_module(f"wgan_jax.reproduce.{name}")
    start = time.perf_counter()
    result = module.run(settings)
    seconds = time.perf_counter() - start
    result.picture.savefig(out / f"{name}.png", dpi=120)
    record = {
        "figure": name,
        "about": FIGURES[name],
        "claims": [
            {"claim": claim.text, "holds": verdict(claim, settings), "evidence": claim.evidence}
            for claim in result.claims
        ],
        "numbers": result.numbers,
        "settings": settings._asdict(),
        "seconds": round(seconds, 1),
        "machine": machine(),
    }
    write_json(out / f"{name}.json", as_json(record))
    return result
