"""Every public name is documented in the reference, completely."""

import importlib
import inspect
import re
from functools import partial
from pathlib import Path

import jax
import pytest

import wgan_jax

ROOT = Path(__file__).parents[1]
DIRECTIVE = re.compile(r"^\.\. auto(module|class|function):: (\S+)((?:\n {3}\S.*)*)", re.MULTILINE)
# What a reader meets in signatures, with nothing to call.
TYPES = {"Objective", "PairedObjective", "Penalty", "Optimizer", "Purpose", "Draw"}


def public(module):
    """Names of a module as autodoc sees them: its `__all__`, or what it defines itself."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
    ]


def documented():
    """Objects on the pages of docs/api, by the name of the directive that shows them."""
    found = {}
    for page in (ROOT / "docs/api").glob("*.md"):
        for kind, target, options in DIRECTIVE.findall(page.read_text()):
            if kind != "module":
                module, _, name = target.rpartition(".")
                found[target] = getattr(importlib.import_module(module), name)
                continue
            module = importlib.import_module(target)
            left_out = re.findall(r":exclude-members: (.*)", options)
            names = set(public(module)) - {n.strip() for n in ",".join(left_out).split(",")}
            if hasattr(module, "__all__"):
                assert ":imported-members:" in options, f"{target} shows nothing without it"
            found |= {f"{target}.{name}": getattr(module, name) for name in names}
    return found


DOCUMENTED = documented()


def test_every_public_name_is_in_the_reference():
    shown = list(map(id, DOCUMENTED.values()))
    for name in wgan_jax.__all__:
        value = getattr(wgan_jax, name)
        if inspect.ismodule(value):
            of_module = [getattr(value, n) for n in public(value)]
            missing = [v for v in of_module if id(v) not in shown]
            assert not missing, f"docs/api leaves out {missing} of {value.__name__}"
        else:
            assert id(value) in shown, f"docs/api leaves out wgan_jax.{name}"


def test_the_public_submodules_are_in_the_reference():
    public_modules = "adaptive critic_fit data.arrays data.toy ema keys latents metrics networks"
    shown = list(map(id, DOCUMENTED.values()))
    for name in [*public_modules.split(), "optimizers", "sharding", "testing"]:
        module = importlib.import_module(f"wgan_jax.{name}")
        missing = [n for n in public(module) if id(getattr(module, n)) not in shown]
        assert not missing, f"docs/api leaves out {missing} of wgan_jax.{name}"


@pytest.mark.parametrize("name", sorted(DOCUMENTED))
def test_every_docstring_says_what_it_should(name):
    value = DOCUMENTED[name]
    text = inspect.getdoc(value) or ""
    assert text.strip(), f"{name} has no docstring"
    if inspect.isclass(value) and issubclass(value, tuple):
        fields = [f for f in value._fields if f"{f}:" not in text]
        assert not fields, f"{name} does not tell its fields {fields}"
    elif name.rpartition(".")[2] not in TYPES:
        assert ">>>" in text, f"{name} has no example"
    if inspect.isfunction(value) and "raise ValueError" in inspect.getsource(value):
        assert "Raises:" in text, f"{name} does not tell its errors"


def test_pages_name_files_that_exist():
    ours = {path.name for path in (ROOT / "wgan_jax").rglob("*.py")}
    for page in (ROOT / "docs").rglob("*.md"):
        text = page.read_text()
        for target in re.findall(r"\]\(([^)#:]+?\.(?:md|png))[#)]", text):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
        for config in re.findall(r"`(?:configs/)?(\w+\.py)(?::\w+)?`", text):
            places = [ROOT / "configs", ROOT, ROOT / "docs", ROOT / "tests"]
            is_there = config in ours or any((place / config).exists() for place in places)
            assert is_there, f"{page.name}: {config}"


@pytest.mark.parametrize("library", ["Linen", "NNX", "Equinox"])
def test_the_networks_of_each_tab_are_networks(library):
    if library == "Equinox":
        pytest.importorskip("equinox", reason="equinox comes with the extra 'equinox'")
    text = (ROOT / "docs/composing.md").read_text()
    tab = re.search(rf":::{{tab-item}} {library}\n```python\n(.*?)```", text, re.DOTALL)
    names = {"__name__": library}
    exec(tab.group(1), names)
    for role, shapes in (("generator", [(7, 2)]), ("critic", [(7,), (7, 1)])):
        network, x = names[role], jax.ShapeDtypeStruct((7, 2), "float32")
        params, stats = jax.eval_shape(network.init, jax.random.key(0), x)
        y, _ = jax.eval_shape(partial(network.apply, train=True), params, stats, x)
        assert y.shape in shapes


@pytest.mark.slow
@pytest.mark.parametrize("page", ["quickstart", "adding", "composing", "testing", "w1"])
def test_the_python_on_a_page_runs(page):
    if page == "testing":
        pytest.importorskip("hypothesis")
    text = (ROOT / "docs" / f"{page}.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert blocks
    names = {"__name__": page}
    exec("\n".join(blocks), names)
    for name in [name for name in names if name.startswith("test_")]:
        names[name]()
