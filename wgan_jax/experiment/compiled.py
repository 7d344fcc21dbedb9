"""Compiled programs are kept on disk, so that the second start of a run need not compile."""

from __future__ import annotations

import os
from pathlib import Path

import jax


def keep_compiled_programs() -> None:
    """Turn on JAX's persistent compilation cache, in the user's cache folder.

    For processes that own themselves, before they compile anything. The folder is
    `wgan_jax/compiled` in XDG_CACHE_HOME, `~/.cache` by default; one that
    JAX_COMPILATION_CACHE_DIR names is used instead. JAX_ENABLE_COMPILATION_CACHE=false
    turns it off. What cannot be read or written there is compiled anew, with a warning.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or Path(home, "wgan_jax", "compiled")
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_raise_persistent_cache_errors", False)
