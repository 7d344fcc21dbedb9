"""Builds report.html, a self-contained page about a run.

The page is made from the files of a workdir alone, which are untrusted: all text is escaped,
pictures are decoded and re-encoded, and the page's content security policy allows no requests
and no scripts except its own.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import time
from pathlib import Path
from string import Template

from wgan_jax.experiment.report import curves, head, tables
from wgan_jax.experiment.report.contents import RunArtifacts, read_artifacts
from wgan_jax.experiment.report.health import health
from wgan_jax.experiment.report.machine import machine
from wgan_jax.experiment.report.markup import Markup, join, tag
from wgan_jax.experiment.report.memorization import memorization
from wgan_jax.experiment.workdir import write_json
from wgan_jax.files import atomic_write

logger = logging.getLogger(__name__)

_SECONDS_BETWEEN, _SHARE = 30.0, 0.01
_HERE = Path(__file__).parent


class Reporter:
    """Keeps a run's report up to date, at most every 30 seconds and in at most 1% of the time."""

    def __init__(self, workdir: Path):
        self._workdir, self._due = workdir, time.monotonic() + _SECONDS_BETWEEN
        write_json(workdir / "machine.json", machine())

    def update(self, *, last: bool = False) -> None:
        """Write the report if it is due; errors are logged and never raised."""
        began = time.monotonic()
        if not last and began < self._due:
            return
        try:
            write_report(self._workdir)
        except Exception as error:  # the report must never stop the run
            logger.warning(f"the report could not be written: {type(error).__name__}: {error}")
        took = time.monotonic() - began
        self._due = time.monotonic() + max(_SECONDS_BETWEEN, took / _SHARE)


def write_report(workdir: Path) -> Path:
    """Write `report.html` into a workdir atomically, and return its path.

    Raises:
      UserError: the workdir holds no run, or cannot be written to.
    """
    path = workdir / "report.html"
    text = page(read_artifacts(workdir))
    with atomic_write(path) as file:
        file.write(text.encode("utf-8", "replace"))
    return path


def page(contents: RunArtifacts) -> str:
    """Return the report as HTML."""
    return html_page(head.title(contents), _body(contents))


def html_page(title: str, body: Markup) -> str:
    """Return a self-contained page with the reports' style and script."""
    script, style = ((_HERE / f"page.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    policy = (
        f"default-src 'none'; img-src data:; script-src {_digest(script)}; "
        f"style-src {_digest(style)}; base-uri 'none'; form-action 'none'"
    )
    template = Template((_HERE / "page.html").read_text(encoding="utf-8"))
    return template.substitute(
        policy=tag("meta", http_equiv="Content-Security-Policy", content=policy),
        title=tag("title", title),
        style=f"<style>{style}</style>",
        body=body,
        script=f"<script>{script}</script>",
    )


def _body(contents: RunArtifacts) -> Markup:
    builders = {
        "Samples": head.samples,
        "Distance to the data": curves.distance,
        "Can the critic be trusted?": health,
        "Training": curves.training,
        "Evaluation": tables.evaluation,
        "Copies of training data": memorization,
        "Members": tables.members,
        "Settings": tables.settings,
        "Speed and machine": tables.speed_and_machine,
    }
    parts = {heading: build(contents) for heading, build in builders.items()}
    sections = [tag("section", tag("h2", name), *part) for name, part in parts.items() if part]
    return join([head.overview(contents), head.figures(contents), *sections])


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
