"""A strict harness: what JAX would forgive, the tests do not."""

import atexit
import os
import tempfile
from pathlib import Path

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=2")

import jax
import pytest
from hypothesis import settings

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_debug_key_reuse", True)
jax.config.update("jax_platforms", "cpu")

# Tests whose examples compile something say a number of their own.
settings.register_profile("usual", max_examples=200, deadline=None)
settings.register_profile("long", max_examples=5_000, deadline=None)
settings.load_profile("usual")

# What the doors compile goes to a folder of this process and not to the user's cache.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:
    _compiled = tempfile.TemporaryDirectory()
    atexit.register(_compiled.cleanup)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name


def pytest_configure(config: pytest.Config) -> None:
    """The usual tests compile much and run little: half their time is LLVM's optimiser."""
    if config.option.markexpr == "not slow and not process":
        jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session")
def official_files() -> Path:
    """The folder of official data files; what reads them skips where it is not named."""
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
def key() -> jax.Array:
    return jax.random.key(0)
