"""Checks built pages: `python docs/check_pages.py DIR`, after `sphinx-build docs DIR`.

Every link to a page, an anchor or a file of the build must resolve. If a browser is available
(`tests/browser.py`), no page may be wider than its window at 1280 and at 400 pixels, and no line
of code may be cut off at 1280.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import browser

WIDTHS = (1280, 400)
CUT = """[...document.querySelectorAll("pre")].filter(e => e.scrollWidth > e.clientWidth)
    .map(e => e.textContent.split("\\n").reduce((a, b) => a.length < b.length ? b : a))"""
FIXED = {"height": 900, "deviceScaleFactor": 1, "mobile": False}


class Page(HTMLParser):
    """Anchors and links of a page."""

    def __init__(self, path: Path):
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" or (tag == "a" and name == "name"):
                self.ids.add(value)
            elif name in ("href", "src") and value:
                self.links.add(value)


def pages_of(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*.html")) if "_static" not in path.parts]


def broken_links(root: Path) -> list[str]:
    pages = {path: Page(path) for path in pages_of(root)}
    problems = []
    for path, page in pages.items():
        for link in sorted(page.links):
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            name = f"{path.relative_to(root)}: {link}"
            if not target.is_file():
                problems.append(f"{name} leads nowhere")
            elif (
                url.fragment and target in pages and unquote(url.fragment) not in pages[target].ids
            ):
                problems.append(f"{name} names an anchor that is not on the page")
    return problems


def overflows(root: Path, program: str) -> list[str]:
    problems = []
    with browser.Browser(program) as tab:
        for path in pages_of(root):
            tab.open(path, width=WIDTHS[0], height=FIXED["height"])
            for width in WIDTHS:
                tab.call("Emulation.setDeviceMetricsOverride", width=width, **FIXED)
                wider = tab.value("document.scrollingElement.scrollWidth") - width
                page = path.relative_to(root)
                if wider > 0:
                    problems.append(f"{page}: {wider} pixels wider than a window of {width}")
                if width == WIDTHS[0] and "_modules" not in path.parts:
                    problems += [f"{page}: cut: {line}" for line in tab.value(CUT)]
    return problems


def main(folder: str) -> int:
    root = Path(folder).resolve()
    program = browser.find()
    if program is None:
        print("no Chromium: page widths are not checked")
    problems = broken_links(root) + (overflows(root, program) if program else [])
    print("\n".join([*problems, f"{len(problems)} problems on the pages"]))
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
