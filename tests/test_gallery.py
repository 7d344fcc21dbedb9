"""The gallery of the docs shows what the records of figures hold."""

import importlib.util
from pathlib import Path


def gallery():
    path = Path(__file__).parents[1] / "docs" / "gallery.py"
    spec = importlib.util.spec_from_file_location("gallery", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_gallery_shows_what_a_record_holds():
    record = {
        "figure": "fig1",
        "about": "lines",
        "claims": [{"claim": "W1 grows", "holds": False, "evidence": "it does not"}],
        "table": {"head": ["method", "W1"], "rows": [["ours", "1.25 ± 0.50"]]},
        "settings": {"size": "full", "seeds": 3, "data_dir": None},
        "seconds": 1200.0,
        "cpu_seconds": 61.0,
        "note": "Shared.",
        "machine": {"cores": 2, "device": "cpu", "architecture": "x86_64", "jax": "0.10"},
    }
    module = gallery()
    page = module.section(record)
    assert "- **does not hold**: W1 grows (it does not)" in page
    assert "| method | W1 |\n| --- | --- |\n| ours | 1.25 ± 0.50 |" in page
    assert "`python -m wgan_jax reproduce fig1 --size full --seeds 3`: 61 s of CPU time" in page
    assert "20 min of wall time" in page
    assert page.rstrip().endswith("Shared.")
    other = module.Entry("| [`fig2`](#fig2) | 1 of 1 | 2 s |", "## fig2\n\nText.\n")
    entries = {"fig1": module.Entry(module.row(record), page), "fig2": other}
    assert module.read(module.write(entries)) == entries


def test_the_gallery_shows_what_became_of_claims_at_the_real_size():
    def record(size, holds, words):
        claims = [{"claim": f"{words} (of two)", "holds": holds, "evidence": "1.5 (mean)"}]
        return {
            "figure": "gp_fig1a",
            "about": "surfaces",
            "claims": claims,
            "table": None,
            "settings": {"size": size, "seeds": None, "data_dir": None},
            "seconds": 1.0,
            "cpu_seconds": 1.0,
            "note": None,
            "machine": {"cores": 2, "device": "cpu", "architecture": "x86_64", "jax": "0.10"},
        }

    module = gallery()
    records = [record("default", False, "it grows"), record("real", True, "it grows here")]
    entries = {module.title(r): module.Entry(module.row(r), module.section(r)) for r in records}
    page = module.write(entries)
    assert (
        "| [gp_fig1a](#gp-fig1a-real) | it grows here (of two) | **does not hold** | holds |"
        in page
    )
    assert "(figures/gp_fig1a-real.png)" in page
    assert "--size real" in page
    assert module.read(page) == entries
