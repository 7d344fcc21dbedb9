"""Package metadata and docs/install.md agree: versions, extras, and imported modules."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import wgan_jax
from wgan_jax import errors

ROOT = Path(__file__).parents[1]
INSTALL = (ROOT / "docs/install.md").read_text()


def rows(heading):
    """The cells of the table below a heading of the page."""
    text = INSTALL.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_versions_agree():
    version = re.escape(wgan_jax.__version__)
    assert re.search(rf"^version: {version}$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)
    assert re.search(rf"^## \[(Unreleased|{version})\]", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert set(re.findall(r"wgan_jax-([\d.]+)-py3", INSTALL)) == {wgan_jax.__version__}


def test_every_extra_is_on_the_page():
    named = {name for row in rows("Extras") for name in re.findall(r"`(\w+)`", row[0])}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert named == project["optional-dependencies"].keys()


@pytest.mark.parametrize("row", rows("What is loaded when"), ids=lambda row: row[0])
def test_only_what_the_page_names_is_loaded(row):
    code, loaded, absent = row[0].strip("`"), row[1].split(",")[0].split(), row[2].split()
    assert len(absent) >= 7
    script = f"{code}; import sys; print(*(x for x in {[*loaded, *absent]} if x in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == loaded


def test_hints_at_extras_are_true_for_a_clone_and_for_a_wheel(tmp_path, monkeypatch):
    assert errors.install_extra("wandb") == f"pip install -e '{ROOT}[wandb]'"
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "site-packages/wgan_jax/errors.py"))
    assert errors.install_extra("wandb") == "pip install 'wgan_jax[wandb]'"
    for path in (ROOT / "wgan_jax").rglob("*.py"):
        named = re.findall(r"install_extra\([\"'](\w+)[\"']\)", path.read_text(encoding="utf-8"))
        assert set(named) <= {name for row in rows("Extras") for name in re.findall(r"\w+", row[0])}


def test_the_config_reference_has_every_field_with_its_docstring():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import config_reference
    finally:
        sys.path.remove(str(ROOT / "docs"))
    text = config_reference.markdown()
    assert "| `n_critic` | int | `5` | Critic steps per generator iteration. |" in text
    assert "| `clip` | [Clip](#clip), none | `Clip` | Weight clipping of the critic. |" in text
    assert "Examples per class, filled in from labeled data" in text
    for line in text.splitlines():
        if line.startswith("| `"):
            assert line.rstrip(" |")[-1] in ".)", line
    assert "{fields}" in (ROOT / "docs/config.md").read_text()
