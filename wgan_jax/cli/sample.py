"""`python -m wgan_jax sample`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from wgan_jax.cli import flags
from wgan_jax.cli.common import parse_nonnegative_int, require_writable, workdir
from wgan_jax.errors import UserError, suggest

_WALKS = 8


def sample(args: list[str]) -> int:
    """Draw samples from the newest checkpoint: a picture, arrays, a table, a folder, or walks.

    usage: python -m wgan_jax sample WORKDIR --out OUT [--num N] [--seed S] [--force]
                                    [--weights ema|raw] [--truncation T] [--label K]
                                    [--condition NAME=VALUE] [--conditions FILE]
                                    [--interpolate FRAMES] [--member K]

    --out          FILE.png (a grid), FILE.npy or FILE.npz (arrays: of your own arrays and tables
                   in their units, of other images in [-1, 1]), FILE.csv or FILE.parquet (points
                   by column), FOLDER/ (a PNG each), or with --interpolate FILE.gif and FILE.apng,
                   which move
    --num          how many samples (64, or one for each row of --conditions), or walks (8)
    --seed         the same seed gives the same samples (0)
    --force        replace what is there
    --weights      averaged or last; averaged where the run keeps an average, if not given
    --truncation   keep latents within it: better samples, less variety
    --label        the one class to draw, of a conditional generator: its number, or its name
    --condition    the value of a column that samples are conditioned on, in its unit; may be
                   repeated, and columns that are not set are drawn from the data
    --conditions   a table or array with a condition for each sample, in the units of the data
    --interpolate  walks from one latent to another in so many frames: rows of a grid, arrays
                   [num, frames, ...], or animated as a tour of four
    --member       of a sweep, counted from 0

    The data set need not be there. Images that were padded for training come out at
    their own size.
    """
    out, args = flags.path_option(args, "out")
    frames, args = flags.option(args, "interpolate")
    member, args = flags.option(args, "member")
    force, args = "--force" in args, [word for word in args if word != "--force"]
    label, args = flags.option(args, "label")
    spec, args = _spec(args, num=64 if frames is None else _WALKS)
    folder = workdir("sample", args)
    steps = None if frames is None else parse_nonnegative_int("interpolate", frames, 2)
    path = _out(out, force, walks=steps is not None)
    from wgan_jax.experiment.sampling import sample_files
    from wgan_jax.experiment.sampling.sampler import SampleSpec, open_sampler
    from wgan_jax.experiment.schema import read_schema

    spec["label"] = _class_number(label, read_schema(folder).class_names)
    config = flags.load(folder / "config.json")
    k = None if member is None else parse_nonnegative_int("member", member)
    sampler = open_sampler(config, folder, SampleSpec(**spec), member=k)
    if steps is not None:
        sample_files.require_few(sampler.num * steps)
        walks = sampler.interpolate(steps, tour=sample_files.is_animated(path))
        sample_files.write_walks(walks, path, sampler.schema)
    else:
        many = sample_files.is_folder(str(out))
        blocks, num = sampler.blocks(), sampler.num
        sample_files.write_samples(blocks, num, path, folder=many, schema=sampler.schema)
    print(out)
    return 0


def _spec(args: list[str], num: int) -> tuple[dict[str, Any], list[str]]:
    given = {}
    for name in ("num", "seed", "weights", "truncation"):
        given[name], args = flags.option(args, name)
    file, args = flags.path_option(args, "conditions")
    settings, args = flags.repeated_option(args, "condition")
    if given["weights"] not in (None, "ema", "raw"):
        raise UserError(f"--weights takes ema or raw, got {given['weights']!r}")
    bound, count = given["truncation"], given["num"]
    if count is None:
        wanted = num if file is None else None
    else:
        wanted = parse_nonnegative_int("num", count, 1)
    spec = {
        "num": wanted,
        "seed": parse_nonnegative_int("seed", given["seed"] or "0"),
        "weights": given["weights"],
        "truncation": None if bound is None else _real("truncation", bound),
        "condition": tuple(_setting(text) for text in settings),
        "conditions": file,
    }
    return spec, args


def _class_number(text: str | None, names: tuple[str, ...]) -> int | None:
    """The class of a name, or of a number where it is none."""
    if text is None or text in names:
        return None if text is None else names.index(text)
    if names and not text.isdecimal():
        raise UserError(f"there is no class {text[:60]!r}; {suggest(text, list(names))}")
    return parse_nonnegative_int("label", text)


def _setting(text: str) -> tuple[str, str]:
    """The name and the value of NAME=VALUE."""
    name, equals, value = text.rpartition("=")
    if not equals or not name or not value:
        raise UserError(f"--condition takes NAME=VALUE, got {text!r}")
    return name, value


def _out(out: str | None, force: bool, *, walks: bool) -> Path:
    from wgan_jax.experiment.sampling.sample_files import FORMS, is_animated, is_folder

    if out is None:
        raise UserError(f"sample needs --out FILE with {', '.join(FORMS)}, or --out FOLDER/")
    path, folder = Path(out), is_folder(out)
    if not folder and path.suffix not in FORMS:
        raise UserError(f"{out} should end in {', '.join(FORMS)}, or name a folder")
    if walks and folder:
        raise UserError(f"walks between latents go to a file with {', '.join(FORMS)}, not a folder")
    if not walks and not folder and is_animated(path):
        raise UserError(f"{path.suffix} is for walks between latents: add --interpolate FRAMES")
    taken = path.exists() and (not folder or any(path.iterdir()))
    if path.suffix == ".npy":  # with what belongs to the samples beside them
        beside = [path.with_name(f"{path.stem}-{name}.npy") for name in ("labels", "conditions")]
        taken = taken or any(each.exists() for each in beside)
    if taken and not force:
        raise UserError(f"{out} exists; choose another --out, or add --force to replace it")
    require_writable(path)
    return path


def _real(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise UserError(f"--{name} takes a number, got {text!r}") from None
