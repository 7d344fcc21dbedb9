"""The structure of the package: imports go down the layers, without cycles; the core is light."""

import ast
import re
import subprocess
import sys
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "wgan_jax"
# From the ground up. What is in no layer is the library, on which all others stand.
IO = {
    "data.array_files",
    "data.conditions",
    "data.decoded",
    "data.decoded_images",
    "data.folder",
    "data.huggingface",
    "data.image_files",
    "data.images",
    "data.own_arrays",
    "data.pixels",
    "data.prepare",
    "data.records",
    "data.remote",
    "data.rows",
    "data.saved_sets",
    "data.stream",
    "data.table",
    "data.table_files",
    "data.table_parts",
    "data.targets",
    "data.tfds",
}
LAYERS = [IO, {"experiment"}, {"reproduce"}, {"cli"}, {"__main__"}]


def modules():
    paths = (path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(PACKAGE).with_suffix("").parts): path for path in paths}


def imports(module, path, known):
    """The modules of the package that a module imports anywhere in its file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{module} has a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
        else:
            continue
        inner = (name.removeprefix("wgan_jax.") for name in names if name.startswith("wgan_jax."))
        found |= {name for name in inner if name in known and name != module}
    return found


def layer(module):
    def belongs(names):
        return any(f"{module}.".startswith(f"{name}.") for name in names)

    return max((i + 1 for i, names in enumerate(LAYERS) if belongs(names)), default=0)


@pytest.fixture(scope="module")
def graph():
    known = modules()
    return {name: imports(name, path, known) for name, path in known.items()}


def test_imports_form_no_circle(graph):
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"modules that import each other: {' -> '.join(error.args[1])}")


def test_imports_go_down_only(graph):
    up = [(a, b) for a, found in graph.items() for b in found if layer(b) > layer(a)]
    assert not up


def test_no_file_is_too_long_to_be_one_concept():
    lines = {name: len(path.read_text().splitlines()) for name, path in modules().items()}
    assert {name: count for name, count in lines.items() if count > 400} == {}


def test_no_folder_holds_more_than_a_reader_can_survey():
    files = Counter(module.rpartition(".")[0] for module in modules())
    assert files["experiment"] <= 20
    assert max(files.values()) <= 35, files.most_common(3)


def guesses(tree):
    """Questions about a data set's kind, as far as names tell it.

    No isinstance of a class of `data`, no hasattr, getattr or isinstance of what is called data.
    """
    froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    known = {
        alias.name
        for node in froms
        if f"{node.module}.".startswith("wgan_jax.data.")
        for alias in node.names
    }
    json = {
        "dict",
        "list",
        "str",
        "int",
        "float",
        "bool",
    }  # what is read from a file is no data set
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or len(node.args) < 2:
            continue
        if ast.unparse(node.func) not in ("getattr", "hasattr", "isinstance"):
            continue
        subject = ast.unparse(node.args[0]).rpartition(".")[2].lstrip("_")
        kinds = set(re.findall(r"\w+", ast.unparse(node.args[1])))
        if kinds & known or (subject in ("data", "dataset", "unseen") and not kinds <= json):
            yield f"{node.lineno}: {ast.unparse(node)}"


def test_nobody_outside_data_asks_what_kind_of_data_set_it_is():
    trees = {
        name: ast.parse(path.read_text())
        for name, path in modules().items()
        if not name.startswith("data.")
    }
    assert {name: found for name, tree in trees.items() if (found := list(guesses(tree)))} == {}
    asked = (
        "from wgan_jax.data.stream import Stream\nisinstance(x, Stream)\nhasattr(run.data, 'at')"
    )
    assert len(list(guesses(ast.parse(asked)))) == 2


def test_importing_the_library_loads_only_its_four_dependencies():
    code = (
        "import sys, wgan_jax; heavy = {'orbax', 'tensorflow_datasets', 'grain', 'tyro', "
        "'matplotlib', 'tqdm', 'sklearn', 'PIL', 'equinox', 'scipy.optimize', 'scipy.sparse', "
        "'scipy.special', 'scipy.linalg', 'wgan_jax.testing'} & set(sys.modules);"
        " assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_former_public_names_are_still_there():
    from wgan_jax import clipping, ema, finite, keys, optimizers, sharding
    from wgan_jax.transforms import ema as now

    assert ema.track_ema is now.track_ema
    assert {"clip_weights", "all_but_norms"} <= set(dir(clipping))
    assert {"skip_non_finite", "SkipState"} <= set(dir(finite))
    assert {"Adam", "RMSProp", "SGD", "follow_iterations"} <= set(dir(optimizers))
    assert keys.key_for is keys.derive_key
    assert keys.Draw is keys.Purpose
    assert sharding.spread is sharding.shard_batches
    assert sharding.whole is sharding.gather
