"""`python -m wgan_jax sample`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from wgan_jax.cli import flags
from wgan_jax.cli.common import int_option, parse_nonnegative_int, require_writable, workdir
from wgan_jax.data.table_files import is_number
from wgan_jax.errors import UserError, suggest

_INTERPOLATIONS = 8


def sample(args: list[str]) -> int:
    """Draw samples from the newest checkpoint: images, arrays, a table or interpolations.

    usage: python -m wgan_jax sample WORKDIR --out OUT [--num N] [--seed S] [--force]
                                    [--weights ema|raw] [--truncation T] [--label K]
                                    [--condition NAME=VALUE] [--conditions FILE]
                                    [--interpolate FRAMES] [--member K]

    --out          FILE.png (a grid), FILE.npy or FILE.npz (arrays: your own arrays and tables
                   in their units, other images in [-1, 1]), FILE.csv or FILE.parquet (points
                   by column), FOLDER/ (a PNG per sample), or animations with --interpolate:
                   FILE.gif or FILE.apng
    --num          number of samples (64, or one per row of --conditions) or interpolations (8)
    --seed         random seed; the same seed gives the same samples (0)
    --force        overwrite existing files
    --weights      averaged (ema) or last (raw); averaged by default if the run keeps an average
    --truncation   bound on the latents: better samples, less variety
    --label        class to draw from a conditional generator: its name, or its number if no
                   class is named by a number
    --condition    value of a column that samples are conditioned on, in its unit; may be
                   repeated; columns that are not set are drawn from the data
    --conditions   table or array with a condition per sample, in the units of the data
    --interpolate  interpolate between two latents in FRAMES frames: rows of a grid, arrays
                   [num, frames, ...], or an animation that loops through four latents
    --member       member of a sweep, counted from 0

    The data set itself is not needed. Images that were padded for training are written at
    their original size.
    """
    out, args = flags.path_option(args, "out")
    frames, args = int_option(args, "interpolate", 2)
    member, args = int_option(args, "member")
    force, args = flags.switch(args, "force")
    label, args = flags.option(args, "label")
    settings, args = flags.repeated_option(args, "condition")
    spec, args = _spec(args, num=64 if frames is None else _INTERPOLATIONS)
    folder = workdir("sample", args)
    path = _out(out, force, interpolates=frames is not None)
    from wgan_jax.experiment.sampling import sample_files
    from wgan_jax.experiment.sampling.sampler import SampleSpec, open_sampler
    from wgan_jax.experiment.schema import read_schema

    schema = read_schema(folder)
    columns = [] if schema.conditions is None else schema.conditions.fields()
    names = [column["name"] for column in columns]
    spec["condition"] = tuple(_setting(setting, names) for setting in settings)
    spec["label"] = _class_number(label, schema.class_names)
    config = flags.load(folder / "config.json")
    sampler = open_sampler(config, folder, SampleSpec(**spec), member=member)
    if frames is not None:
        sample_files.require_few(sampler.num * frames)
        walks = sampler.interpolate(frames, tour=sample_files.is_animated(path))
        sample_files.write_walks(walks, path, sampler.schema)
    else:
        to_folder = sample_files.is_folder(str(out))
        blocks, num = sampler.blocks(), sampler.num
        sample_files.write_samples(blocks, num, path, folder=to_folder, schema=sampler.schema)
    print(out)
    return 0


def _spec(args: list[str], num: int) -> tuple[dict[str, Any], list[str]]:
    count, args = int_option(args, "num", 1)
    seed, args = int_option(args, "seed")
    weights, args = flags.option(args, "weights")
    bound, args = flags.option(args, "truncation")
    file, args = flags.path_option(args, "conditions")
    if weights not in (None, "ema", "raw"):
        raise UserError(f"--weights takes ema or raw, got {weights!r}")
    spec = {
        "num": num if count is None and file is None else count,
        "seed": seed or 0,
        "weights": weights,
        "truncation": None if bound is None else _real("truncation", bound),
        "conditions": file,
    }
    return spec, args


def _class_number(text: str | None, names: tuple[str, ...]) -> int | None:
    """Return the class given by name, or else by number, unless names are numbers themselves."""
    if text is None:
        return None
    if text in names:
        return names.index(text)
    are_numbers = any(is_number(name) and math.isfinite(float(name)) for name in names)
    if names and (are_numbers or not text.isdecimal()):
        raise UserError(f"there is no class {text[:60]!r}; {suggest(text, list(names))}")
    return parse_nonnegative_int("label", text)


def _setting(text: str, names: list[str]) -> tuple[str, str]:
    """Split NAME=VALUE into a known name, if it starts with one, and its value, as in a=<=5."""
    known = [name for name in names if text.startswith(f"{name}=")]
    name = max(known, key=len, default=text.partition("=")[0])
    value = text.removeprefix(name)[1:]
    if not name or not value:
        raise UserError(f"--condition takes NAME=VALUE, got {text!r}")
    return name, value


def _out(out: str | None, force: bool, *, interpolates: bool) -> Path:
    from wgan_jax.experiment.sampling.sample_files import FORMS, is_animated, is_folder

    if out is None:
        raise UserError(f"sample needs --out FILE with {', '.join(FORMS)}, or --out FOLDER/")
    path, folder = Path(out), is_folder(out)
    if not folder and path.suffix not in FORMS:
        raise UserError(f"{out} should end in {', '.join(FORMS)}, or name a folder")
    if interpolates and folder:
        raise UserError(f"interpolations go to a file with {', '.join(FORMS)}, not a folder")
    if not interpolates and not folder and is_animated(path):
        raise UserError(f"{path.suffix} is for interpolations: add --interpolate FRAMES")
    exists = path.exists() and (not folder or any(path.iterdir()))
    if path.suffix == ".npy":  # labels and conditions are written to files of their own
        others = [path.with_name(f"{path.stem}-{name}.npy") for name in ("labels", "conditions")]
        exists = exists or any(other.exists() for other in others)
    if exists and not force:
        raise UserError(f"{out} exists; choose another --out, or add --force to replace it")
    require_writable(path)
    return path


def _real(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--{name} takes a number, got {text!r}") from None
