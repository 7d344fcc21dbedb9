"""Make docs/paper.md and its pictures from the figures that `reproduce` wrote.

    python docs/gallery.py DIR

Every number on the page is read from a figure's JSON; nothing is typed in.
"""

from __future__ import annotations

import argparse
import importlib
import json
from pathlib import Path
from typing import Any

from PIL import Image

from wgan_jax.reproduce import FIGURES

DOCS = Path(__file__).parent
_WIDTH, _MOST_BYTES = 1_000, 150_000
_WORDS = {True: "holds", False: "**does not hold**", None: "not judged"}

HEAD = """# The paper, reproduced

Each figure is one command, `python -m wgan_jax reproduce FIGURE --out DIR`. It writes a picture
and a JSON with the numbers behind it, and the claims that they support or do not support. This
page is made from those files by `python docs/gallery.py DIR`. Figures 1 to 8 and
`eight_gaussians` are of Arjovsky, Chintala and Bottou, *Wasserstein GAN*, 2017; `gp_*` of Gulrajani
et al., *Improved Training of Wasserstein GANs*, 2017; the pairs of `w1_benchmark` of Korotin,
Kolesov and Burnaev, *Kantorovich Strikes Back!*, 2022.

Image figures run on Fashion-MNIST or on 8 x 8 digits, at sizes that two cores finish; `--size full`
takes more filters and iterations, for an accelerator. LSUN, the paper's data, is not among them.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("dir", type=Path, help="what `reproduce --out` wrote to")
    folder = parser.parse_args().dir
    names = [name for name in FIGURES if (folder / f"{name}.json").exists()]
    records = [json.loads((folder / f"{name}.json").read_text()) for name in names]
    (DOCS / "figures").mkdir(exist_ok=True)
    for name in names:
        shrink(folder / f"{name}.png", DOCS / "figures" / f"{name}.png")
    sections = [HEAD, summary(records), *map(section, records)]
    (DOCS / "paper.md").write_text("\n".join(sections))
    missing = [name for name in FIGURES if name not in names]
    print(f"{len(names)} figures" + (f"; not there: {', '.join(missing)}" if missing else ""))


def shrink(source: Path, target: Path) -> None:
    """A picture of page width in as many colours as fit into 150 kB, narrower where none do."""
    image = Image.open(source).convert("RGB")
    for width in (_WIDTH, _WIDTH * 4 // 5, _WIDTH * 3 // 5):
        height = round(image.height * width / image.width)
        narrow = image.resize((width, height)) if image.width > width else image
        for colours in (256, 128, 64, 32):
            narrow.quantize(colours).save(target, optimize=True)
            if target.stat().st_size <= _MOST_BYTES:
                return


def summary(records: list[dict[str, Any]]) -> str:
    lines = ["| figure | claims that hold | CPU time |", "|---|---|---|"]
    for record in records:
        held = sum(claim["holds"] is True for claim in record["claims"])
        link = f"[`{record['figure']}`](#{record['figure'].replace('_', '-')})"
        lines.append(
            f"| {link} | {held} of {len(record['claims'])} | {took(record['cpu_seconds'])} |"
        )
    return "\n".join(lines) + "\n"


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
            f"## {name.replace('_', '-')}",
            "",
            " ".join(about.split()),
            *([" ".join(more.split())] if more.strip() else []),
            "",
            f"![{record['about']}](figures/{name}.png)",
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
    """The command, what it took and on which machine."""
    settings, machine = record["settings"], record["machine"]
    size = "" if settings["size"] == "default" else f" --size {settings['size']}"
    seeds = "" if settings["seeds"] is None else f" --seeds {settings['seeds']}"
    note = f" {record['note']}" if record["note"] else ""
    return (
        f"`python -m wgan_jax reproduce {record['figure']}{size}{seeds}`: "
        f"{took(record['cpu_seconds'])} of CPU time, {took(record['seconds'])} on the clock, on "
        f"{machine['cores']} cores ({machine['device']}, {machine['architecture']}, "
        f"jax {machine['jax']}).{note}"
    )


def took(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"


if __name__ == "__main__":
    main()
