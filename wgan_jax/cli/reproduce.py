"""`python -m wgan_jax reproduce`."""

from __future__ import annotations

from pathlib import Path

from wgan_jax.cli import flags
from wgan_jax.cli.common import int_option
from wgan_jax.errors import UserError


def reproduce(args: list[str]) -> int:
    """Reproduce a figure of the papers: an image, and the numbers behind it.

    usage: python -m wgan_jax reproduce FIGURE [--out DIR] [--size SIZE] [--seeds N]
                                               [--data-dir DIR] [--note TEXT]

    FIGURE          fig1 to fig8, eight_gaussians, gradients, robustness, gp_fig1a, gp_fig1b,
                    gp_fig5b, scoreboard or w1_benchmark (docs/paper.md)
    --out DIR       folder for FIGURE.png and FIGURE.json (figures)
    --size SIZE     quick, default, real (images with the paper's 64 filters: hours on two cores)
                    or full
    --seeds N       number of runs that the means in a figure are over
    --data-dir DIR  folder that `prepare` wrote the data sets to
    --note TEXT     remark about this run, stored in FIGURE.json for its readers
    """
    out, args = flags.path_option(args, "out")
    size, args = flags.option(args, "size")
    seeds, args = int_option(args, "seeds", 1)
    data_dir, args = flags.path_option(args, "data-dir")
    note, args = flags.option(args, "note")
    from wgan_jax import reproduce
    from wgan_jax.reproduce.figure import SIZES, Settings, report

    if len(args) != 1 or args[0].startswith("-"):
        raise UserError(f"reproduce takes one figure: {', '.join(reproduce.FIGURES)}")
    if size is not None and size not in SIZES:
        raise UserError(f"--size takes {', '.join(SIZES)}, got {size!r}")
    settings = Settings(size or "default", seeds, data_dir)
    folder = Path(out or "figures")
    result = reproduce.reproduce(args[0], folder, settings, note)
    print(report(result, settings))
    print(folder / f"{args[0]}.png")
    return 0
