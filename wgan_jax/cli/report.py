"""`python -m wgan_jax report`."""

from __future__ import annotations

from pathlib import Path

from wgan_jax.cli import flags
from wgan_jax.cli.common import require_writable, workdir
from wgan_jax.errors import UserError


def report(args: list[str]) -> int:
    """Write WORKDIR/report.html: the run on one page, to open in a browser or to send.

    usage: python -m wgan_jax report WORKDIR
           python -m wgan_jax report WORKDIR WORKDIR... --out FILE.html

    Training keeps the same page up to date. It holds samples over time, the estimate with its
    bounds and floor, losses, the critic's health in words, the settings; it needs no network.
    Of several runs a page shows the curves over each other and their evaluations side by side;
    `compare` adds bounds of their distance to the data.

    --out  the page of several runs
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
