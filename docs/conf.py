"""Sphinx configuration: `sphinx-build -W docs DIR`."""

from __future__ import annotations

import os
import re
import sys
from functools import partialmethod
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from nbclient import NotebookClient

import wgan_jax

sys.path.insert(0, str(Path(__file__).parent))
import config_reference

project = "wgan_jax"
author = "The wgan_jax authors"
copyright = "The wgan_jax authors, Apache-2.0"
version = release = wgan_jax.__version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_design",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
# The repository stores notebooks without outputs. Each build executes them in a temporary folder,
# with the programs of this environment.
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600  # seconds per cell
nb_output_stderr = "remove"
# Output of programs arrives in chunks of 100 characters; join them.
NotebookClient.__init__ = partialmethod(NotebookClient.__init__, coalesce_streams=True)
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
html_theme = "sphinx_book_theme"
html_title = "wgan_jax"
_LINKS = {
    "Wasserstein GAN": "https://arxiv.org/abs/1701.07875",
    "WGAN-GP": "https://arxiv.org/abs/1704.00028",
    "JAX": "https://docs.jax.dev",
    "Flax": "https://flax.readthedocs.io",
    "Optax": "https://optax.readthedocs.io",
}
html_theme_options = {
    "show_toc_level": 2,
    "navbar_persistent": [],  # the search box is in the sidebar
    "home_page_in_toc": True,
    "extra_footer": " · ".join(f'<a href="{url}">{name}</a>' for name, url in _LINKS.items()),
}
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_sourcelink_suffix = ""  # notebooks and pages can be downloaded as is

default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "none"
autodoc_default_options = {"members": True}
napoleon_use_ivar = True
napoleon_use_rtype = False
html_math_renderer = "mathml"


def escape(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Escape `|`, `*` and trailing `_` in docstrings, which are plain text outside of code."""
    if what == "attribute":  # napoleon would treat text before a colon as a type
        lines[:] = [line.replace(": ", " \u2013 ") for line in lines]
    in_example = False
    for i, line in enumerate(lines):
        in_example = line.lstrip().startswith(">>>") or (in_example and bool(line.strip()))
        if not in_example:
            parts = re.split(r"(`[^`]*`)", line)  # code stays unchanged
            lines[i] = "".join(p if p.startswith("`") else _plain(p) for p in parts)


def _plain(text: str) -> str:
    text = re.sub(r"(?<!\\)([|*])", r"\\\1", text)
    return re.sub(r"(\w)_(?=\W|$)", r"\1\\_", text)


def shorten(app: Any, what: str, name: str, obj: Any, options: Any, signature: str, returns: str):
    """Drop the parameters that every Linen module adds to its signature."""
    if signature:
        signature = re.sub(r",? ?parent=<[^>]*>, name=None", "", signature)
    return signature, returns


def skip(app: Any, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Skip fields of a NamedTuple, which its docstring documents."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field") else None


def math(translator: Any, node: Any) -> None:
    """Render formulas as MathML, which browsers display without an external script."""
    is_inline = isinstance(node, nodes.math)
    formula = str(tex2mathml(node.astext(), as_block=not is_inline))
    translator.body.append(formula if is_inline else f'<div class="formula">{formula}</div>')
    raise nodes.SkipNode


def link_back(app: Any, page: str, template: str, context: dict[str, Any], doctree: Any) -> None:
    """Correct links from a module's source to its documentation, for names that are re-exported.

    Viewcode uses the name that it finds first for everything that a module defines.
    """

    def corrected(link: re.Match[str]) -> str:
        document, anchor = link["document"], link["anchor"]
        names = [name for name, entry in objects.items() if entry.docname == document]
        if anchor not in names:
            same = [name for name in names if name.split(".")[-1] == anchor.split(".")[-1]]
            return link[0].replace(f"#{anchor}", f"#{same[0]}") if same else ""
        return link[0]

    if page.startswith("_modules/"):
        objects = app.env.domaindata["py"]["objects"]
        href = r'[./]*(?P<document>[^"#]+)\.html#(?P<anchor>[^"]+)'
        link = rf'<a class="viewcode-back" href="{href}">.*?</a>'
        context["body"] = re.sub(link, corrected, context["body"])


def fill_in(app: Any, page: str, source: list[str]) -> None:
    """Insert the fields of the config into their page."""
    if page == "config":
        source[0] = source[0].replace("{fields}", config_reference.markdown())


def setup(app: Any) -> None:
    app.connect("source-read", fill_in)
    app.connect("html-page-context", link_back)
    app.add_html_math_renderer("mathml", (math, None), (math, None))
    app.connect("autodoc-process-docstring", escape, priority=400)  # before napoleon, at 500
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-skip-member", skip)
