"""A strict harness: what JAX would forgive, the tests do not."""

import atexit
import os
import tempfile

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


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)
