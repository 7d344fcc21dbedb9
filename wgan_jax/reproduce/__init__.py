"""Figures and tables of the papers, each recomputed by one command."""

from __future__ import annotations

import importlib
import tempfile
import time
from pathlib import Path

from wgan_jax.errors import UserError, suggest
from wgan_jax.experiment.workdir import write_json
from wgan_jax.files import atomic_write
from wgan_jax.reproduce.figure import Result, Settings, as_json, claim_status, machine

FIGURES = {
    "fig1": "parallel lines: W1, Jensen-Shannon, KL and total variation",
    "fig2": "two Gaussians: optimal discriminator and critic, and their gradients",
    "eight_gaussians": "the ring of 8 over time: GAN, Unrolled GAN, WGAN, WGAN-GP, WGAN-LP",
    "gradients": "norms of the generator's gradient over training, GAN and WGAN",
    "fig3": "the WGAN's estimate of W1 and the quality of its samples",
    "fig4": "the GAN's bound on Jensen-Shannon and the quality of its samples",
    "fig5": "GAN and WGAN on Fashion-MNIST: DCGAN generator",
    "fig6": "GAN and WGAN: generator without batch norm and with constant filters",
    "fig7": "GAN and WGAN: MLP generator",
    "fig8": "the cost of a GAN's generator and the quality of its samples",
    "robustness": "GAN, WGAN and WGAN-GP in twelve settings on Fashion-MNIST: which of them train",
    "gp_fig1a": "value surfaces of clipped and penalized critics at their optimum",
    "gp_fig1b": "gradients by layer and weights of 12-layer critics on the swiss roll",
    "gp_fig5b": "critic loss on 1,000 training digits and on held-out digits",
    "scoreboard": "modes found and share of good samples of every method, on the ring and the grid",
    "w1_benchmark": "W1 estimates and the true W1 of the 28 pairs of Wasserstein1Benchmark",
}


def reproduce(name: str, out: Path, settings: Settings, note: str | None = None) -> Result:
    """Compute a figure and write `out/NAME.png` and `out/NAME.json`.

    Args:
      name: one of `FIGURES`.
      out: output folder.
      settings: size, seeds and location of the data sets.
      note: remark on this run for readers of the JSON, which stores it.

    Raises:
      UserError: the figure is unknown, or the folder is not writable.
    """
    if name not in FIGURES:
        raise UserError(f"unknown figure {name!r}; {suggest(name, list(FIGURES))}")
    try:
        out.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=out).close()
    except OSError as error:
        raise UserError(f"{out} cannot be written: {error.strerror}") from error
    module = importlib.import_module(f"wgan_jax.reproduce.{name}")
    cache_path = out / f"{name}.unfinished.jsonl"
    wall, cpu = time.perf_counter(), time.process_time()
    result = module.run(settings._replace(cache_path=cache_path))
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    seconds, cpu_seconds = seconds + result.earlier[0], cpu_seconds + result.earlier[1]
    with atomic_write(out / f"{name}.png") as file:
        result.picture.savefig(file, dpi=120, format="png")
    record = {
        "figure": name,
        "about": FIGURES[name],
        "claims": [
            {
                "claim": claim.text,
                "holds": claim_status(claim, settings),
                "evidence": claim.evidence,
            }
            for claim in result.claims
        ],
        "table": result.table._asdict() if result.table else None,
        "numbers": result.numbers,
        "settings": {"size": settings.size, "seeds": settings.seeds, "data_dir": settings.data_dir},
        "seconds": round(seconds, 1),
        "cpu_seconds": round(cpu_seconds, 1),
        "note": note,
        "machine": machine(),
    }
    write_json(out / f"{name}.json", as_json(record))
    cache_path.unlink(missing_ok=True)
    return result
