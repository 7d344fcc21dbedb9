"""Generate docs/paper.md and its pictures from the figures that `reproduce` wrote.

    python docs/gallery.py DIR

Every number on the page is read from a figure's JSON. Figures that are not in DIR stay on
the page unchanged. A figure of size `real` has a section of its own, and a table compares its
claims with those of the other size.
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from wgan_jax.reproduce import FIGURES

DOCS = Path(__file__).parent
_WIDTH, _MOST_BYTES = 1_000, 150_000
_WORDS = {True: "holds", False: "**does not hold**", None: "not judged"}

HEAD = """# The papers, reproduced

Each figure is one command, `python -m wgan_jax reproduce FIGURE --out DIR`. It writes a picture,
and a JSON file with the underlying numbers and the claims that they support or do not support.
`python docs/gallery.py DIR` generates this page from those files. Figures 1 to 8 and
`eight_gaussians` are from Arjovsky, Chintala and Bottou, *Wasserstein GAN*, 2017; `gp_*` are from
Gulrajani et al., *Improved Training of Wasserstein GANs*, 2017; the pairs of `w1_benchmark` are
from Korotin, Kolesov and Burnaev, *Kantorovich Strikes Back!*, 2022. `robustness` counts the
settings in which each method trains: both of the first two papers claim robustness for theirs.

Image figures use Fashion-MNIST or 8 x 8 digits, at sizes that take minutes on two cores.
`--size real` raises figures 3 to 8 and `gradients` to 32 pixels and the paper's 64 filters, which
takes hours there. The runs that they share are saved in `DIR/garments.jsonl`, and an interrupted
run resumes from its last snapshot. `--size full` is for an accelerator. LSUN, the paper's data, is
not included.
"""
REAL = "-real"  # suffix of a figure of that size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path, help="folder that `reproduce --out` wrote to")
    folder = parser.parse_args().dir
    page = DOCS / "paper.md"
    entries = read(page.read_text()) if page.exists() else {}
    names = [name for name in FIGURES if (folder / f"{name}.json").exists()]
    (DOCS / "figures").mkdir(exist_ok=True)
    for name in names:
        record = json.loads((folder / f"{name}.json").read_text())
        page_name = title(record)
        shrink(folder / f"{name}.png", DOCS / "figures" / f"{page_name}.png")
        entries[page_name] = Entry(row(record), section(record))
    page.write_text(write(entries))
    missing = [name for name in FIGURES if name not in entries]
    print(f"{len(names)} figures" + (f"; missing: {', '.join(missing)}" if missing else ""))


class Entry(NamedTuple):
    """A figure's part of the page: a row of the table at the top, and a section."""

    row: str
    section: str


def title(record: dict[str, Any]) -> str:
    """Return the name of a figure, with a suffix at size `real`."""
    return record["figure"] + (REAL if record["settings"]["size"] == "real" else "")


def read(page: str) -> dict[str, Entry]:
    """Return the figures of a page that `write` generated, by title."""
    head, *sections = page.split("\n## ")
    rows = {line.split("`")[1]: line for line in head.splitlines() if line.startswith("| [`")}
    texts = {_anchor(text.split("\n", 1)[0]): f"## {text.rstrip()}\n" for text in sections}
    return {
        name: Entry(rows[name], texts[_anchor(name)]) for name in rows if _anchor(name) in texts
    }


def write(entries: dict[str, Entry]) -> str:
    """Return the page, in the order of `FIGURES`."""
    titles = [f"{name}{size}" for name in FIGURES for size in ("", REAL)]
    ordered = [entries[name] for name in titles if name in entries]
    table = ["| figure | claims that hold | time |", "|---|---|---|", *(e.row for e in ordered)]
    missing = ", ".join(f"`{name}`" for name in FIGURES if name not in entries)
    absent = [f"Figures without a finished run: {missing}.\n"] if missing else []
    return "\n".join(
        [
            HEAD,
            *absent,
            "\n".join(table) + "\n",
            *verdicts(entries),
            *(entry.section for entry in ordered),
        ]
    )


def verdicts(entries: dict[str, Entry]) -> list[str]:
    """Return a table of the claims and verdicts of figures that are present at both sizes."""
    rows = []
    for name in FIGURES:
        if name in entries and name + REAL in entries:
            small, real = _claims(entries[name]), _claims(entries[name + REAL])
            link = f"[{name}](#{_anchor(name + REAL)})"
            rows += [
                f"| {link} | {claim} | {was} | {now} |"
                for (_, was), (claim, now) in zip(small, real, strict=True)
            ]
    if not rows:
        return []
    head = ["| figure | claim | small | real |", "|---|---|---|---|"]
    return ["Claims at the small and at the real size:\n", "\n".join([*head, *rows]) + "\n"]


def _claims(entry: Entry) -> list[tuple[str, str]]:
    """Return each claim of a section and its verdict."""
    lines = [line[2:] for line in entry.section.splitlines() if line.startswith("- ")]
    fields = [line.partition(": ") for line in lines]
    return [(_without_evidence(text), verdict) for verdict, _, text in fields]


def _without_evidence(text: str) -> str:
    """Return the text before its last pair of parentheses, which may contain others."""
    depth = 0
    for i in reversed(range(len(text))):
        depth += {")": 1, "(": -1}.get(text[i], 0)
        if text[i] == "(" and depth == 0:
            return text[:i].rstrip()
    return text


def _anchor(name: str) -> str:
    return name.replace("_", "-")


def shrink(source: Path, target: Path) -> None:
    """Save a picture at page width in as many colors as fit into 150 kB, or else narrower."""
    image = Image.open(source).convert("RGB")
    for width in (_WIDTH, _WIDTH * 4 // 5, _WIDTH * 3 // 5):
        height = round(image.height * width / image.width)
        narrow = image.resize((width, height)) if image.width > width else image
        for colors in (256, 128, 64, 32):
            narrow.quantize(colors).save(target, optimize=True)
            if target.stat().st_size <= _MOST_BYTES:
                return


def row(record: dict[str, Any]) -> str:
    held = sum(claim["holds"] is True for claim in record["claims"])
    link = f"[`{title(record)}`](#{_anchor(title(record))})"
    return f"| {link} | {held} of {len(record['claims'])} | {took(record['cpu_seconds'])} of CPU |"


def section(record: dict[str, Any]) -> str:
    name = record["figure"]
    document = importlib.import_module(f"wgan_jax.reproduce.{name}").__doc__ or ""
    about, _, more = document.partition("\n\n")
    claims = [
        f"- {_WORDS[claim['holds']]}: {claim['claim']} ({claim['evidence']})"
        for claim in record["claims"]
    ]
    return "\n".join(
        [
            f"## {_anchor(title(record))}",
            "",
            " ".join(about.split()),
            *([" ".join(more.split())] if more.strip() else []),
            "",
            f"![{record['about']}](figures/{title(record)}.png)",
            "",
            *claims,
            "",
            *markdown(record["table"]),
            ran(record),
            "",
        ]
    )


def markdown(table: dict[str, Any] | None) -> list[str]:
    if table is None:
        return []
    rows = [table["head"], ["---"] * len(table["head"]), *table["rows"]]
    return [*(f"| {' | '.join(row)} |" for row in rows), ""]


def ran(record: dict[str, Any]) -> str:
    """Return the command, its cost and its machine."""
    settings, machine = record["settings"], record["machine"]
    size = "" if settings["size"] == "default" else f" --size {settings['size']}"
    seeds = "" if settings["seeds"] is None else f" --seeds {settings['seeds']}"
    note = f" {record['note']}" if record["note"] else ""
    return (
        f"`python -m wgan_jax reproduce {record['figure']}{size}{seeds}`: "
        f"{took(record['cpu_seconds'])} of CPU time, {took(record['seconds'])} of wall time, on "
        f"{machine['cores']} cores ({machine['device']}, {machine['architecture']}, "
        f"jax {machine['jax']}).{note}"
    )


def took(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    main()
