"""`python -m wgan_jax report`."""

from __future__ import annotations

from wgan_jax.cli.common import workdir


def report(args: list[str]) -> int:
    """Write WORKDIR/report.html: the run on one page, to open in a browser or to send.

    usage: python -m wgan_jax report WORKDIR

    Training keeps the same page up to date. It holds samples over time, the estimate with its
    bounds and floor, losses, the critic's health in words, the settings; it needs no network.
    """
    from wgan_jax.experiment.report.reporter import write_report

    print(write_report(workdir("report", args)))
    return 0
