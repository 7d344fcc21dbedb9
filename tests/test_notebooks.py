"""Notebooks of the docs are stored without outputs; the check of built pages."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from browser import find

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "docs/notebooks").glob("*.ipynb"))


def test_there_are_four_notebooks_and_the_index_names_them():
    index = (ROOT / "docs/index.md").read_text()
    assert len(NOTEBOOKS) == 4
    assert all(f"\nnotebooks/{path.stem}\n" in index for path in NOTEBOOKS)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_without_outputs(path):
    notebook = json.loads(path.read_text())
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    cells = notebook["cells"]
    ids = [cell["id"] for cell in cells]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name) for name in ids)
    assert cells[0]["source"][0].startswith("# ")
    for cell in cells:
        assert cell["metadata"] == {}
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            assert set(cell) == {
                *("cell_type", "execution_count", "id", "metadata", "outputs", "source")
            }
        else:
            assert set(cell) == {"cell_type", "id", "metadata", "source"}


def check(folder):
    command = [sys.executable, str(ROOT / "docs/check_pages.py"), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_check_of_pages_finds_dead_links_and_wide_pages(tmp_path):
    good = '<h1 id="here">A</h1><a href="b.html#there">b</a><a href="https://a.b/c">c</a>'
    (tmp_path / "a.html").write_text(good + '<a href="#here">a</a>')
    (tmp_path / "b.html").write_text('<h1 id="there">B</h1><a href="a.html">a</a>')
    answer = check(tmp_path)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    bad = '<a href="b.html#nowhere">b</a><img src="c.png"><div style="width: 900px">wide</div>'
    (tmp_path / "a.html").write_text(bad)
    answer = check(tmp_path)
    assert answer.returncode == 1
    assert "a.html: b.html#nowhere names an anchor that is not on the page" in answer.stdout
    assert "a.html: c.png leads nowhere" in answer.stdout
    assert "window of 1280" not in answer.stdout
    assert ("wider than a window of 400" in answer.stdout) == (find() is not None)
