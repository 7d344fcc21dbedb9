"""`python -m wgan_jax report`."""

from __future__ import annotations

from pathlib import Path

from wgan_jax.cli import flags
from wgan_jax.cli.common import require_writable, workdir
from wgan_jax.errors import UserError


def report(args: list[str]) -> int:
    """Write WORKDIR/report.html, a self-contained page about the run.

    usage: python -m wgan_jax report WORKDIR
           python -m wgan_jax report WORKDIR WORKDIR... --out FILE.html

    Training keeps the same page up to date. It shows samples over time, the estimate with its
    bounds and noise floor, losses, the critic's health in words and the settings, and needs no
    network access. A page of several runs overlays their curves and puts their evaluations
    side by side; `compare` adds bounds on their distance to the data.

    --out  file for the page of several runs
    """
    from wgan_jax.experiment.report.reporter import write_report
    from wgan_jax.experiment.report.several import LARGEST, write_page

    out, args = flags.path_option(args, "out")
    if out is None:
        if len(args) > 1:
            raise UserError("report of several runs needs --out FILE.html")
        print(write_report(workdir("report", args)))
        return 0
    path = Path(out)
    if path.suffix != ".html":
        raise UserError(f"{out} should end in .html")
    if not 2 <= len(args) <= LARGEST:
        raise UserError(f"report --out takes 2 to {LARGEST} workdirs, got {len(args)}")
    folders = [workdir("report", [name]) for name in args]
    require_writable(path)
    write_page(path, folders)
    print(path)
    return 0
