"""The benchmarks run where nothing is installed but what they compare."""

import ast
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
COMPARED = {"jax", "flax", "optax", "numpy", "torch"}
OURS = {"wgan_jax", "benchmarks"}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module


def test_they_name_no_other_package():
    allowed = COMPARED | OURS | sys.stdlib_module_names
    files = sorted((ROOT / "benchmarks").rglob("*.py"))
    assert files
    for path in files:
        for module in imported(path):
            assert module.partition(".")[0] in allowed, f"{path} imports {module}"


def test_what_they_import_of_ours_needs_no_other_package():
    """scipy comes with jax, msgpack and rich with flax; the rest of our dependencies is blocked."""
    code = (
        "import sys\n"
        "for name in ('orbax.checkpoint', 'tensorflow_datasets', 'grain', 'tyro', 'matplotlib', "
        "'tqdm', 'sklearn', 'PIL', 'torch', 'chex'):\n"
        "    sys.modules[name] = None\n"
        "import benchmarks.speed.ours, benchmarks.speed.plain_flax, benchmarks.scaling\n"
        "import benchmarks.speed.__main__\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
