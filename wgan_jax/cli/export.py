"""`python -m wgan_jax export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wgan_jax.cli import flags
from wgan_jax.cli.common import int_option, require_writable, workdir
from wgan_jax.errors import UserError


def export(args: list[str]) -> int:
    """Export a trained generator for use without this package: a program, or weights.

    usage: python -m wgan_jax export WORKDIR --out FILE [--weights ema|raw] [--member K] [--force]

    --out      FILE.jax, a program of jax.export for CPU, CUDA and TPU: it maps noise, labels and
               conditions, for any number of samples, to samples in the units of your own data;
               FILE.json next to it describes each of them. FILE.safetensors, the weights by name
    --weights  averaged (ema) or last (raw); averaged by default if the run keeps an average
    --member   member of a sweep, counted from 0
    --force    overwrite existing files
    """
    out, args = flags.path_option(args, "out")
    member, args = int_option(args, "member")
    weights, args = flags.option(args, "weights")
    force, args = flags.switch(args, "force")
    folder = workdir("export", args)
    from wgan_jax.experiment.sampling.export import export_generator
    from wgan_jax.experiment.sampling.sampler import SampleSpec, open_sampler

    if weights not in (None, "ema", "raw"):
        raise UserError(f"--weights takes ema or raw, got {weights!r}")
    path = _out(out, force)
    spec: Any = {"weights": weights}
    config = flags.load(folder / "config.json")
    export_generator(open_sampler(config, folder, SampleSpec(**spec), member=member), path)
    print(out)
    return 0


def _out(out: str | None, force: bool) -> Path:
    from wgan_jax.experiment.sampling.export import FORMS, beside

    if out is None:
        raise UserError(f"export needs --out FILE with {' or '.join(FORMS)}")
    path = Path(out)
    if path.suffix not in FORMS:
        raise UserError(f"{out} should end in {' or '.join(FORMS)}")
    files = [path] if path.suffix == ".safetensors" else [path, beside(path)]
    for file in files:
        if file.exists() and not force:
            raise UserError(f"{file} exists; choose another --out, or add --force to replace it")
    require_writable(path)
    return path
