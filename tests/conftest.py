"""Shared fixtures, and stricter JAX settings than the defaults."""

import atexit
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import jax
import pytest
from hypothesis import settings

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_platforms", "cpu")

# Tests whose examples compile programs set their own max_examples.
settings.register_profile("usual", max_examples=200, deadline=None)
settings.register_profile("long", max_examples=5_000, deadline=None)
settings.load_profile("usual")

# Commands cache compiled programs in a folder of this process, not in the user's cache.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:
    _compiled = tempfile.TemporaryDirectory()
    atexit.register(_compiled.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name


# The fast tests compile a lot and run little, so optimizing their code does not pay off.
QUICK_COMPILATION = " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


def pytest_configure(config: pytest.Config) -> None:
    if not is_fast(config):
        return
    jax.config.update("jax_disable_most_optimizations", True)
    if "PYTEST_XDIST_WORKER" not in os.environ and xla_knows(QUICK_COMPILATION):
        os.environ["XLA_FLAGS"] += QUICK_COMPILATION  # the workers inherit it


def is_fast(config: pytest.Config) -> bool:
    """Whether these are the fast tests, or a part of them."""
    return "not slow" in config.option.markexpr


def xla_knows(flags: str) -> bool:
    """Whether this jaxlib knows these flags; unknown flags abort the process."""
    command = [sys.executable, "-c", "import jax; jax.devices()"]
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    return subprocess.run(command, env=environment, capture_output=True).returncode == 0


@pytest.fixture(scope="session")
def official_files() -> Path:
    """The folder of official data files; tests that need it are skipped if it is not set."""
    if "WGAN_JAX_TEST_DATA" not in os.environ:
        pytest.skip("WGAN_JAX_TEST_DATA does not name a folder with the official files")
    return Path(os.environ["WGAN_JAX_TEST_DATA"])


@pytest.fixture(scope="session")
def fashion_mnist(official_files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which Fashion-MNIST is prepared."""
    from wgan_jax.data.prepare import prepare

    folder = tmp_path_factory.mktemp("tfds")
    files = official_files / "fashion_mnist"
    prepare("fashion_mnist", data_dir=str(folder), manual_dir=str(files))
    return folder


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoded images and downloads go to a cache of the test, not to the user's."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def few_points() -> Iterator[None]:
    """Runs end with exact W1 of 200 points; the default of 2,000 takes seconds."""
    from wgan_jax.experiment.evaluation import transport

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transport, "_POINTS", 200)
        yield


@pytest.fixture(scope="session", autouse=True)
def small_effort(request: pytest.FixtureRequest) -> Iterator[None]:
    """In the fast tests, evaluations bound W1 with few cones and few draws."""
    from wgan_jax.experiment.evaluation import certified

    with pytest.MonkeyPatch.context() as patch:
        if is_fast(request.config):
            few = {"steps": 10, "cones": 16, "batch_size": 64, "transports": 1}
            effort = certified.Effort(**few, held_out=256, transport_size=64)
            patch.setattr(certified, "EFFORT", effort)
        yield


@pytest.fixture(scope="module")
def optimized_programs() -> Iterator[None]:
    """XLA optimizes the programs of this file: few programs, which draw millions of samples."""
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(scope="module", autouse=True)
def few_programs() -> Iterator[None]:
    """Compiled programs are dropped after each file: XLA slows down with thousands of them."""
    yield
    jax.clear_caches()


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)
